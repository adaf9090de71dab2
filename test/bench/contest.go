package main

import (
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// clientCount is how many clients send requests at the same time.
const clientCount = 4

// turns says how requests are divided: into turns of some requests each.
type turns struct {
	requests, count int
	single          bool // one client sends all requests
}

// side is one of the servers that are compared, and what its clients do: before each
// turn, which is not timed, and for each request.
type side struct {
	clients []*conn
	server  *server             // nil if it is not ours
	before  func(c *conn) error // may be nil
	act     func(c *conn) error
}

// result is what the turns of one side came to.
type result struct {
	requests  int
	elapsed   time.Duration
	cpu       time.Duration // of the clients
	serverCPU time.Duration
	turns     []time.Duration // how long each took
	latencies []time.Duration
}

// contest lets the sides answer in alternating turns, so that other load on the machine
// and its disk affects all of them.
func contest(t turns, sides ...side) ([]result, error) {
	results := make([]result, len(sides))
	for turn := range t.count + 1 {
		if turn == 1 { // the first has warmed up the servers
			clear(results)
		}
		for i := range sides {
			i = (i + turn) % len(sides) // none is always the first
			if err := results[i].turn(t, sides[i]); err != nil {
				return nil, err
			}
		}
	}
	return results, nil
}

// turn runs one turn of a side.
func (r *result) turn(t turns, s side) error {
	clients := s.clients
	if t.single {
		clients = clients[:1]
	}
	if s.before != nil {
		if err := s.before(clients[0]); err != nil {
			return err
		}
	}
	var mu sync.Mutex
	cpu, serverCPU, began := processorTime(), s.server.processorTime(), time.Now()
	err := together(clients, t.requests, func(c *conn) error {
		sent := time.Now()
		err := s.act(c)
		took := time.Since(sent)
		mu.Lock()
		defer mu.Unlock()
		r.latencies = append(r.latencies, took)
		return err
	})
	took := time.Since(began)
	r.requests += t.requests
	r.elapsed += took
	r.cpu += processorTime() - cpu
	r.serverCPU += s.server.processorTime() - serverCPU
	r.turns = append(r.turns, took)
	return err
}

// together runs an act n times, divided between the clients. It returns the first error.
func together(clients []*conn, n int, act func(c *conn) error) error {
	var work sync.WaitGroup
	var begun atomic.Int64
	errs := make(chan error, len(clients))
	for _, c := range clients {
		work.Go(func() {
			for begun.Add(1) <= int64(n) {
				if err := act(c); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	work.Wait()
	close(errs)
	return <-errs
}

func (r result) perSecond() float64 { return float64(r.requests) / r.elapsed.Seconds() }

// clientCost is the processor time that a client takes for one request.
func (r result) clientCost() time.Duration { return r.cpu / time.Duration(r.requests) }

// serverCost is the processor time that the server takes for one request.
func (r result) serverCost() time.Duration { return r.serverCPU / time.Duration(r.requests) }

func (r result) median() time.Duration { return median(r.latencies) }

// speed is how fast a side is in comparison to another: the median over the turns.
func (r result) speed(other result) float64 {
	ratios := make([]float64, len(r.turns))
	for i := range ratios {
		ratios[i] = other.turns[i].Seconds() / r.turns[i].Seconds()
	}
	return median(ratios)
}

func median[T time.Duration | float64](list []T) T {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}

// processorTime is what this process has used, in user and kernel mode.
func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
