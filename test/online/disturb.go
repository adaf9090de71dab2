package online

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os/exec"
	"regexp"
	"syscall"
	"time"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// longest is how long clients push at most when something has still not happened.
const longest = 5 * time.Minute

// disturbUntil disturbs the registries in every way, until enough was pushed and has happened.
func (w *world) disturbUntil(ctx context.Context) {
	const ways = 4
	started := time.Now()
	for n := 0; n < ways || !w.enough(time.Since(started)); n++ {
		if pause(ctx, 3*w.Pace+rand.N(10*w.Pace)) != nil {
			return
		}
		switch n % ways {
		case 0: // no collector that was killed has to be waited for yet
			w.rollOut()
			w.leaveAlone(ctx)
		case 1:
			w.kill(w.any())
		case 2:
			w.stop(ctx, w.any())
		case 3:
			w.disturbCommand(ctx)
			w.leaveAlone(ctx)
		}
	}
}

// leaveAlone waits until a collection has removed something, or had the time to: on a slow
// storage, none would come to its end.
func (w *world) leaveAlone(ctx context.Context) {
	w.tally.read(w.nodes)
	before := w.tally.get().blobs
	for range 60 {
		if w.tally.read(w.nodes); w.tally.get().blobs > before || pause(ctx, w.Pace) != nil {
			return
		}
	}
}

func (w *world) enough(pushing time.Duration) bool {
	if w.Pushes > 0 {
		return w.tally.get().pushes >= w.Pushes
	}
	if pushing < w.Duration {
		return false
	}
	w.tally.read(w.nodes)
	return w.tally.missing() == nil || pushing > longest
}

// rollOut restarts all registries, one after the other: what was used is forgotten.
func (w *world) rollOut() {
	for _, n := range w.nodes {
		n.disturb()
		n.restart("")
	}
	w.tally.count(func(c *counts) { c.restarts++ })
}

func (w *world) kill(n *node) {
	n.disturb()
	n.registry.Kill()
	n.restart("")
	w.tally.count(func(c *counts) { c.kills++ })
}

// stop keeps a registry from its work, or from its storage, for longer than its lease, and
// maybe for longer than collectors wait for it.
func (w *world) stop(ctx context.Context, n *node) {
	n.disturb()
	if n.proxy != nil && rand.IntN(2) == 0 {
		// Nothing that was sent may be on its way for 30 times the pace.
		pass := n.proxy.hang()
		_ = pause(ctx, 4*w.Pace+rand.N(16*w.Pace))
		pass()
		n.healed()
		w.tally.count(func(c *counts) { c.cuts++ })
		return
	}
	w.freeze(ctx, n.registry.PID())
	w.tally.count(func(c *counts) { c.stops++ })
	select {
	case <-n.registry.Done():
		n.restart("")
		w.tally.count(func(c *counts) { c.stoppedForGood++ })
	default:
		n.healed()
	}
}

// freeze stops a process, either for less time than its watchdog allows, or for so much
// more that it has been killed if it was storing or removing anything.
func (w *world) freeze(ctx context.Context, pid int) {
	lasting := 4*w.Pace + rand.N(w.Pace)
	if rand.IntN(2) == 0 {
		lasting = min(45*w.Pace, 12*time.Second)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		w.t.Error(err)
	}
	_ = pause(ctx, lasting)
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil && !errors.Is(err, syscall.ESRCH) {
		w.t.Error(err)
	}
}

// harmless are the reasons for which a collection removes nothing while registries are
// killed and stopped.
var harmless = regexp.MustCompile(`nothing was removed: .*(takes no part in collections|has not acknowledged it|lost contact with the storage)`)

// collectOnline are the arguments of the command that collects beside the registries.
func (w *world) collectOnline() []string {
	return []string{"garbage-collect", "--online", "--delete-untagged", "--delete-dangling-referrers", "--format", "json", w.config}
}

// collectUntil runs the command again and again until stop is closed.
func (w *world) collectUntil(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		var stdout, stderr bytes.Buffer
		cmd := exec.Command(harness.Binary(w.t), w.collectOnline()...)
		cmd.Env = append(cmd.Environ(), "OTEL_TRACES_EXPORTER=none")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		w.running.Lock()
		err := cmd.Start()
		w.command, w.killed = cmd, false
		w.running.Unlock()
		if err == nil {
			err = cmd.Wait()
		}
		w.running.Lock()
		killed := w.killed
		w.command = nil
		w.running.Unlock()
		w.collected(err, killed, stdout.Bytes(), stderr.String())
	}
}

// collected counts a run of the command.
func (w *world) collected(err error, killed bool, stdout []byte, stderr string) {
	var r report
	switch {
	case killed && err != nil:
		return
	case err != nil && harmless.MatchString(stderr):
		w.tally.count(func(c *counts) { c.failed++ })
	case err != nil:
		w.t.Errorf("garbage-collect --online: %v: %s%s", err, stdout, stderr)
	case json.Unmarshal(stdout, &r) != nil:
		w.t.Errorf("the summary of garbage-collect --online: %s", stdout)
	default:
		w.tally.count(func(c *counts) {
			c.collections++
			c.blobs += r.Blobs.Removed
			c.rescued += r.Rescued
		})
	}
}

// disturbCommand kills or stops the command that is collecting, if it is running.
func (w *world) disturbCommand(ctx context.Context) {
	w.running.Lock()
	defer w.running.Unlock()
	if w.command == nil {
		return
	}
	w.killed = true
	if rand.IntN(2) == 0 {
		w.freeze(ctx, w.command.Process.Pid)
		w.tally.count(func(c *counts) { c.stoppedCommands++ })
		return
	}
	_ = w.command.Process.Kill()
	w.tally.count(func(c *counts) { c.killedCommands++ })
}
