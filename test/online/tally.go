package online

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// counts is what has happened.
type counts struct {
	pushes, garbage, referrers int // acknowledged; of these, those that needed garbage, and referrers
	promised, missing          int // HEAD of what may be garbage: 200 and 404
	mounted, uploaded          int
	excused                    int // promises of registries that were disturbed, and not kept
	unavailable                int // answers 503
	deletes, pulls             int
	kills, restarts, stops     int
	cuts, stoppedForGood       int
	killedCommands             int
	stoppedCommands            int
	collections, failed        int // runs to the end, and runs that removed nothing
	blobs, rescued             int // removed, and candidates that were used
}

type tally struct {
	mu sync.Mutex
	counts
	logged logged
}

// logged is what the registries have logged about their collections.
type logged struct{ collections, failed, blobs, rescued int }

func (t *tally) count(change func(*counts)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.counts)
}

func (t *tally) get() counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.counts
	c.collections += t.logged.collections
	c.failed += t.logged.failed
	c.blobs += t.logged.blobs
	c.rescued += t.logged.rescued
	return c
}

// String says what has happened.
func (t *tally) String() string {
	c := t.get()
	return fmt.Sprintf("%d pushes acknowledged, %d of them of garbage, %d of them referrers; HEAD of garbage: %d found, %d not; "+
		"%d mounts, %d uploads, %d deletes, %d complete pulls; %d answers 503, %d promises excused; "+
		"%d registries killed, %d stopped, %d of them for good, %d cut off, %d times all restarted, %d collectors killed, %d stopped; "+
		"%d collections, %d that removed nothing because of these; %d blobs removed, %d candidates rescued",
		c.pushes, c.garbage, c.referrers, c.promised, c.missing, c.mounted, c.uploaded, c.deletes, c.pulls, c.unavailable, c.excused,
		c.kills, c.stops, c.stoppedForGood, c.cuts, c.restarts, c.killedCommands, c.stoppedCommands, c.collections, c.failed, c.blobs, c.rescued)
}

var field = regexp.MustCompile(`(\w+)=(\d+)`)

// read counts the collections in the logs of the registries, which are whole each time.
func (t *tally) read(nodes []*node) {
	var sum logged
	for _, n := range nodes {
		for line := range strings.Lines(n.registry.Log()) {
			sum.add(line)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.logged = sum
}

func (l *logged) add(line string) {
	switch {
	case strings.Contains(line, "garbage collection: nothing was removed"):
		l.failed++
	case strings.Contains(line, "garbage collection: done"):
		found := map[string]int{}
		for _, match := range field.FindAllStringSubmatch(line, -1) {
			found[match[1]], _ = strconv.Atoi(match[2])
		}
		l.collections++
		l.blobs += found["blobs"]
		l.rescued += found["rescued"]
	}
}

// report is the summary of the command as JSON, as far as it matters here.
type report struct {
	Rescued                                     int
	Manifests, LayerLinks, ReferrerLinks, Blobs struct{ Kept, Removed, Removable int }
}

func expectNothingRemovable(t *testing.T, output string) {
	t.Helper()
	var r report
	if err := json.Unmarshal([]byte(output), &r); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if r.Manifests.Removable+r.LayerLinks.Removable+r.ReferrerLinks.Removable+r.Blobs.Removable > 0 {
		t.Errorf("garbage is left: %s", output)
	}
}

// missing is what has not happened yet, although the test means little without it.
func (t *tally) missing() []string {
	c := t.get()
	var missing []string
	for _, need := range []struct {
		what string
		is   bool
	}{
		{"no push was acknowledged", c.pushes > 0},
		{"less than a third of the pushes are of garbage", 3*c.garbage >= c.pushes},
		{"no garbage was there", c.promised > 0},
		{"no garbage was gone", c.missing > 0},
		{"no collection has ended", c.collections > 0},
		{"no blob was removed", c.blobs > 0},
		{"no candidate was rescued", c.rescued > 0},
		{"no registry was killed", c.kills > 0},
	} {
		if !need.is {
			missing = append(missing, need.what)
		}
	}
	return missing
}
