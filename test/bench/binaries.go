package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// contestant is a server with its clients, and the repository that they push to.
type contestant struct {
	server     *server
	clients    []*conn
	repository *repository
}

// does is a side of a contest in which the clients do something.
func (c contestant) does(act func(c *conn) error) side {
	return side{clients: c.clients, server: c.server, act: act}
}

// arena is the servers that are compared.
type arena struct {
	ours, stock, bare contestant
	turns             func(requests int) turns
	only              *regexp.Regexp
	out               io.Writer
}

// compare starts the binaries in a folder, and writes the table that compares them.
func compare(out io.Writer, o options) error {
	folder, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	a := &arena{out: out, only: o.only}
	a.turns = func(requests int) turns { return turns{requests: requests, count: o.turns} }
	for _, start := range []struct {
		contestant *contestant
		server     func() (*server, error)
	}{
		{&a.ours, func() (*server, error) { return startRegistry(o.ours, folder+"/ours") }},
		{&a.stock, func() (*server, error) { return startRegistry(o.stock, folder+"/stock") }},
		{&a.bare, func() (*server, error) { return startBare(folder) }},
	} {
		c := start.contestant
		if c.server, err = start.server(); err != nil {
			return err
		}
		defer c.server.stop()
		if c.clients, err = c.server.clients(clientCount); err != nil {
			return err
		}
	}
	for _, c := range []*contestant{&a.ours, &a.stock} {
		if c.repository, err = newRepository(c.clients[0], "bench/image"); err != nil {
			return err
		}
	}
	_, _ = fmt.Fprintf(out, "Commit %s, %s, %d CPUs, %s, load before the run: %s\n\n", commit(), runtime.Version(), runtime.NumCPU(),
		time.Now().UTC().Format(time.DateOnly), load())
	_, _ = fmt.Fprintln(out, "| | this registry, per second | the other | ratio | aim | processor time, µs per request: this registry, the other | its client |")
	_, _ = fmt.Fprintln(out, "| --- | --- | --- | --- | --- | --- | --- |")
	for _, rows := range []func() error{a.listings, a.pages, a.afterPush, a.latency, a.pushes, a.images} {
		if err := rows(); err != nil {
			return err
		}
	}
	return nil
}

// row measures and writes one row, unless it is not asked for.
func (a *arena) row(name, aim string, t turns, make func() (ours, other side, err error)) error {
	if !a.only.MatchString(name) {
		return nil
	}
	ours, other, err := make()
	if err != nil {
		return fmt.Errorf("preparing %s: %w", name, err)
	}
	r, err := contest(t, ours, other)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	_, err = fmt.Fprintf(a.out, "| %s | %.0f | %.0f | %.2f | %s | %s |\n", name, r[0].perSecond(), r[1].perSecond(),
		r[0].speed(r[1]), aim, costs(r))
	return err
}

// costs is the last two columns of the table.
func costs(r []result) string {
	return fmt.Sprintf("%.0f, %.0f | %.0f, %.0f", micros(r[0].serverCost()), micros(r[1].serverCost()),
		micros(r[0].clientCost()), micros(r[1].clientCost()))
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// listed makes a subject with n referrers, and both sides of its listing.
func (a *arena) listed(n int, query string) (subject harness.Descriptor, ours, bare side, err error) {
	if subject, err = a.ours.repository.subject(a.ours.clients, n); err != nil {
		return subject, ours, bare, err
	}
	path := a.ours.repository.listing(subject) + query
	body, _, err := a.ours.clients[0].get(path)
	if err != nil {
		return subject, ours, bare, err
	}
	ours, bare = reading(a.ours, path, len(body)), reading(a.bare, "/"+subject.Digest.Encoded(), len(body))
	_, _, err = a.bare.clients[0].do(request{method: http.MethodPut, path: "/" + subject.Digest.Encoded(), content: body, status: http.StatusCreated})
	return subject, ours, bare, err
}

// reading is a side that gets one path, whose body has the size at least.
func reading(s contestant, path string, size int) side {
	return s.does(func(c *conn) error {
		body, _, err := c.get(path)
		if err == nil && len(body) < size {
			err = fmt.Errorf("%s: %d bytes instead of %d", path, len(body), size)
		}
		return err
	})
}

func (a *arena) listings() error {
	for _, l := range []struct {
		referrers, requests int
		aim                 string
	}{{1, 400, "0.5"}, {10, 400, "0.5"}, {100, 200, "0.65"}, {1000, 40, "0.75"}} {
		err := a.row(fmt.Sprintf("listing of %d", l.referrers), l.aim, a.turns(l.requests), func() (side, side, error) {
			_, ours, bare, err := a.listed(l.referrers, "")
			return ours, bare, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// afterPush lists 1,000 referrers when one has been replaced since the last time.
func (a *arena) afterPush() error {
	t := a.turns(1)
	t.count, t.single = 4*t.count, true
	return a.row("listing of 1000, right after a push", "0.75", t, func() (side, side, error) {
		subject, ours, bare, err := a.listed(1000, "")
		var last string
		ours.before = func(c *conn) error {
			if last != "" {
				if _, _, err := c.do(request{method: http.MethodDelete, path: last, status: http.StatusAccepted}); err != nil {
					return err
				}
			}
			d, err := a.ours.repository.push(c, a.ours.repository.referrer(subject))
			last = a.ours.repository.path("manifests/" + d.Digest.String())
			return err
		}
		return ours, bare, err
	})
}

// pages walks 10,000 referrers.
func (a *arena) pages() error {
	return a.row("10000 in pages of 1000", "0.5", a.turns(clientCount), func() (side, side, error) {
		subject, ours, bare, err := a.listed(10_000, "?n=1000")
		first, once := a.ours.repository.listing(subject)+"?n=1000", bare.act
		ours.act = func(c *conn) error { return walk(c, first, 10) }
		bare.act = func(c *conn) error {
			for range 10 {
				if err := once(c); err != nil {
					return err
				}
			}
			return nil
		}
		return ours, bare, err
	})
}

// walk gets a page and all that follow.
func walk(c *conn, first string, pages int) error {
	n := 0
	for next := first; next != ""; n++ {
		var err error
		if _, next, err = c.get(next); err != nil {
			return err
		}
	}
	if n != pages {
		return fmt.Errorf("%s: %d pages instead of %d", first, n, pages)
	}
	return nil
}

// latency is how long one client waits.
func (a *arena) latency() error {
	const name = "p50 of one client, listing of 1"
	if !a.only.MatchString(name) {
		return nil
	}
	_, ours, bare, err := a.listed(1, "")
	if err != nil {
		return err
	}
	t := a.turns(200)
	t.single = true
	r, err := contest(t, ours, bare)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.out, "| %s | %.0f µs | %.0f µs | %.1f times | 3 times | %s |\n", name, micros(r[0].median()), micros(r[1].median()),
		r[0].median().Seconds()/r[1].median().Seconds(), costs(r))
	return err
}

// pushes compares with the stock binary.
func (a *arena) pushes() error {
	for _, n := range []int{1, 1000} {
		name := fmt.Sprintf("push of a referrer of a subject that has %d, against stock", n)
		err := a.row(name, "1.4", a.turns(40), func() (ours, stock side, err error) {
			if ours, err = attaching(a.ours, n); err == nil {
				stock, err = attaching(a.stock, n)
			}
			return ours, stock, err
		})
		if err != nil {
			return err
		}
	}
	return a.row("push of a signature with its blob, against stock", "1.0", a.turns(20), func() (ours, stock side, err error) {
		if ours, err = signing(a.ours); err == nil {
			stock, err = signing(a.stock)
		}
		return ours, stock, err
	})
}

func signing(s contestant) (side, error) {
	subject, err := s.repository.subject(s.clients, 1)
	return s.does(func(c *conn) error { return s.repository.pushSignature(c, subject) }), err
}

func attaching(s contestant, n int) (side, error) {
	subject, err := s.repository.subject(s.clients, n)
	return s.does(func(c *conn) error {
		_, err := s.repository.push(c, s.repository.referrer(subject))
		return err
	}), err
}

func (a *arena) images() error {
	err := a.row("push of an image, against stock", "1.1", a.turns(20), func() (side, side, error) {
		return imaging(a.ours), imaging(a.stock), nil
	})
	if err != nil {
		return err
	}
	return a.row("pull of an image, against stock", "1.1", a.turns(100), func() (ours, stock side, err error) {
		if ours, err = pulling(a.ours); err == nil {
			stock, err = pulling(a.stock)
		}
		return ours, stock, err
	})
}

func imaging(s contestant) side {
	return s.does(func(c *conn) error {
		_, err := s.repository.pushImage(c)
		return err
	})
}

func pulling(s contestant) (side, error) {
	image, err := s.repository.pushImage(s.clients[0])
	return s.does(func(c *conn) error { return s.repository.pullImage(c, image) }), err
}

// commit is the commit of the working tree.
func commit() string {
	output, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(output))
}

// load is the average load of the machine in the last minutes.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], ", ")
}
