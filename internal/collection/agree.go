package collection

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/oras-distribution/registry/internal/layout"
)

// register lists who has to agree. It comes after the publishing: a replica that registers
// later sees the candidates before it serves. One whose registration was gone, because a backup
// without it was put back, has noticed by the time that its lease would have run out: it has
// registered again, or answers nobody.
func (c *run) register(ctx context.Context) (err error) {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(c.options.Pace.lease() + c.options.Pace.busy()):
	}
	c.replicas, err = c.registered(ctx)
	return err
}

// registered are the names of the replicas that are registered now.
func (c *run) registered(ctx context.Context) ([]string, error) {
	active, err := listActive(ctx, c.driver)
	return active.Replicas, err
}

// names lists a folder whose files have the names of replicas.
func (c *run) names(ctx context.Context, folder string) (names []string, err error) {
	paths, err := c.driver.List(ctx, folder)
	if err != nil && !layout.IsNotFound(err) {
		return nil, fmt.Errorf("listing %s: %w", folder, err)
	}
	for _, p := range paths {
		if name := path.Base(p); !strings.Contains(name, ".") { // or the filesystem driver is writing it
			names = append(names, name)
		}
	}
	return names, nil
}

// awaitAcks waits until every replica has acknowledged, or cannot answer anybody.
func (c *run) awaitAcks(ctx context.Context) error {
	began := c.options.Clock()
	waiting := slices.Clone(c.replicas)
	return c.poll(ctx, func() (done bool, err error) {
		waited := c.options.Clock() - began
		if waiting, err = c.missing(ctx, waiting, waited); err != nil {
			return false, err
		}
		if len(waiting) > 0 && waited > c.options.Pace.surrender() {
			return false, fmt.Errorf("replica %s has seen the run, but has not acknowledged it for %s", waiting[0], waited.Round(time.Second))
		}
		return len(waiting) == 0, nil
	})
}

// missing are those replicas that have not acknowledged the run, and are still there.
// One that has not even seen the candidates after a while can answer nobody.
func (c *run) missing(ctx context.Context, waiting []string, waited time.Duration) (rest []string, err error) {
	acked, err := c.names(ctx, layout.RunAcks(c.name))
	if err != nil {
		return nil, err
	}
	waiting = slices.DeleteFunc(waiting, func(r string) bool { return slices.Contains(acked, r) })
	if len(waiting) == 0 {
		return nil, nil
	}
	registered, err := c.registered(ctx)
	if err != nil {
		return nil, err
	}
	for _, replica := range waiting {
		there := slices.Contains(registered, replica)
		gone := !there && c.isGone(replica)
		if there && waited > c.options.Pace.patience() {
			if gone, err = c.dismiss(ctx, replica); err != nil {
				return nil, err
			}
		}
		if gone {
			c.replicas = slices.DeleteFunc(c.replicas, func(r string) bool { return r == replica })
		} else {
			rest = append(rest, replica)
		}
	}
	return rest, nil
}

// isGone reports whether a replica whose registration is gone answers nobody, or has registered
// again: see register. One that was shut down has removed it itself: nobody can tell.
func (c *run) isGone(replica string) bool {
	now := c.options.Clock()
	since, known := c.vanished[replica]
	if !known {
		since = now
		c.vanished[replica] = now
	}
	return now-since > c.options.Pace.lease()
}

// dismiss removes the registration of a replica, unless it has seen the candidates. It
// reports whether it has removed it.
func (c *run) dismiss(ctx context.Context, replica string) (bool, error) {
	seen, err := exists(ctx, c.driver, layout.RunSeen(c.name, replica))
	if err != nil || seen {
		return false, err
	}
	err = layout.Remove(ctx, c.driver, layout.Replica(replica))
	return err == nil, err
}

// ask asks the replicas about the links that have been written since the first look. One
// that nobody has written is the work of somebody who takes no part.
func (c *run) ask(ctx context.Context) error {
	var strange []Key
	names := map[Key]string{}
	for repository, d := range c.found.Links() {
		key := LinkKey(repository, d)
		if _, known := slices.BinarySearch(c.before, key); !known {
			strange = append(strange, key)
			names[key] = fmt.Sprintf("%s in %s", d, repository)
		}
	}
	if len(strange) == 0 {
		return nil
	}
	if err := c.driver.PutContent(ctx, layout.RunQuestions(c.name), appendKeys(nil, strange)); err != nil {
		return fmt.Errorf("asking the replicas: %w", err)
	}
	// Those that have registered since have seen the candidates before they wrote anything.
	registered, err := c.registered(ctx)
	if err != nil {
		return err
	}
	gone := slices.DeleteFunc(slices.Clone(c.replicas), func(r string) bool { return slices.Contains(registered, r) })
	began := c.options.Clock()
	for _, replica := range append(registered, gone...) {
		if len(strange) == 0 {
			return nil
		}
		own, err := c.answer(ctx, replica, began)
		if err != nil {
			return err
		}
		strange = slices.DeleteFunc(strange, func(k Key) bool { return slices.Contains(own, k) })
	}
	if len(strange) > 0 {
		return fmt.Errorf("%s was written by a registry that takes no part in collections (a stock or older one, or one that has crashed since)", names[strange[0]])
	}
	return nil
}

// answer is what a replica says that it has written: nothing if it has not said so for long
// after all were asked.
func (c *run) answer(ctx context.Context, replica string, asked time.Duration) (own []Key, err error) {
	err = c.poll(ctx, func() (bool, error) {
		content, err := c.driver.GetContent(ctx, layout.RunAnswer(c.name, replica))
		if layout.IsNotFound(err) {
			return c.options.Clock()-asked > c.options.Pace.patience(), nil
		}
		own = decodeKeys(content)
		slices.Sort(own)
		return err == nil, err
	})
	return own, err
}
