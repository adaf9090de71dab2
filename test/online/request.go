package online

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// patience is how long a request is sent again. A collector that was killed blocks what it
// was removing for 39 times the pace.
func (w *world) patience() time.Duration { return 60*w.Pace + 30*time.Second }

// requestTimeout is how long an answer may take.
const requestTimeout = 30 * time.Second

// backOff is how long a client waits before it sends a request again.
const backOff = 50 * time.Millisecond

// answer is an answer, what it is worth, and whether an earlier one was 503.
type answer struct {
	*harness.Response
	promise
	again bool
}

// ask sends a request to a registry, or to any if it is nil, until it is answered with
// something else than 503.
func (w *world) ask(ctx context.Context, at *node, r harness.Request) (a answer, err error) {
	for until := time.Now().Add(w.patience()); ; {
		n := at
		if n == nil {
			n = w.any()
		}
		if a, err = w.once(ctx, n, r, a.again); err != nil || a.Response != nil {
			return a, err
		}
		if a.again = true; time.Now().After(until) {
			return a, fmt.Errorf("%s %s is not answered for %s", r.Method, r.Path, w.patience())
		}
		if err := pause(ctx, backOff); err != nil {
			return a, err
		}
	}
}

// once sends a request once. There is no response if it has to be sent again.
func (w *world) once(ctx context.Context, n *node, r harness.Request, again bool) (answer, error) {
	client, promise := n.now()
	a := answer{promise: promise, again: again}
	sent, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := client.Do(sent, r)
	switch {
	case ctx.Err() != nil:
		return a, ctx.Err()
	case err != nil && promise.holds():
		return a, fmt.Errorf("%s %s, at a registry that was left alone: %w", r.Method, r.Path, err)
	case err != nil:
		return a, nil
	case resp.Status == http.StatusServiceUnavailable:
		w.tally.count(func(c *counts) { c.unavailable++ })
		if promise.holds() {
			err = expectUnavailable(resp)
		}
		return a, err
	case resp.Status >= http.StatusInternalServerError && !promise.holds():
		return a, nil
	case resp.Status >= http.StatusInternalServerError:
		return a, resp.Err()
	}
	a.Response = resp
	return a, nil
}

// pause waits, as clients do before they send a request again.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// expectUnavailable expects 503 to say when to send the request again, and why.
func expectUnavailable(r *harness.Response) error {
	seconds, err := strconv.Atoi(r.Header.Get("Retry-After"))
	if err != nil || seconds < 1 {
		return fmt.Errorf("503 with Retry-After %q: %s", r.Header.Get("Retry-After"), r)
	}
	if r.Request.Method == http.MethodHead {
		return nil
	}
	var body struct{ Errors []harness.Error }
	err = json.Unmarshal(r.Body, &body)
	if err == nil && (len(body.Errors) != 1 || body.Errors[0].Code != "UNAVAILABLE" || body.Errors[0].Message == "") {
		err = errors.New("not the error body of the specification")
	}
	if err == nil && !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		err = fmt.Errorf("the Content-Type %s", r.Header.Get("Content-Type"))
	}
	if err != nil {
		return fmt.Errorf("503 with %w: %s", err, r)
	}
	return nil
}
