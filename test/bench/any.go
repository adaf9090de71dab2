package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// measure sends the requests of the comparison to any registry that has the referrers
// API, and writes a table. What it pushes stays there.
func measure(out io.Writer, t target, o options) error {
	clients, err := t.clients(clientCount)
	if err != nil {
		return err
	}
	r, err := newRepository(clients[0], o.repository)
	if err != nil {
		return err
	}
	subject, err := r.push(clients[0], r.image())
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(out, "| | per second | p50 | client, per request |")
	_, _ = fmt.Fprintln(out, "| --- | --- | --- | --- |")
	var pushes result
	if err := pushes.turn(turns{requests: o.referrers}, side{clients: clients, act: func(c *conn) error {
		_, err := r.push(c, r.referrer(subject))
		return err
	}}); err != nil {
		return err
	}
	pushes.write(out, "push of a manifest with a subject")
	all := r.listing(subject)
	paged := fmt.Sprintf("%s?n=%d", all, max(o.referrers/10, 1))
	for _, path := range []string{all, paged} {
		pages, err := expectListed(clients[0], path, o.referrers)
		if err != nil {
			return err
		}
		results, err := contest(turns{requests: 40, count: o.turns}, side{clients: clients, act: func(c *conn) error {
			return walk(c, path, pages)
		}})
		if err != nil {
			return err
		}
		results[0].write(out, fmt.Sprintf("listing of %d, pages: %d", o.referrers, pages))
	}
	return nil
}

func (r result) write(out io.Writer, name string) {
	_, _ = fmt.Fprintf(out, "| %s | %.0f | %.0f µs | %.0f µs |\n", name, r.perSecond(), micros(r.median()), micros(r.clientCost()))
}

// expectListed expects n referrers on all pages of a listing, each once.
func expectListed(c *conn, first string, n int) (pages int, err error) {
	listed := map[digest.Digest]bool{}
	for next := first; next != ""; pages++ {
		var body []byte
		if body, next, err = c.get(next); err != nil {
			return pages, err
		}
		var index struct{ Manifests []harness.Descriptor }
		if err := json.Unmarshal(body, &index); err != nil {
			return pages, fmt.Errorf("%s: %w", first, err)
		}
		for _, d := range index.Manifests {
			listed[d.Digest] = true
		}
	}
	if len(listed) != n {
		err = fmt.Errorf("%s: %d referrers are listed instead of %d", first, len(listed), n)
	}
	return pages, err
}
