package bench

import (
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// The requests of a turn, and the clients that share them.
const (
	turn    = 100
	clients = 4
)

// duel measures two sides in alternating turns of a few requests, so that other load on
// the machine and its disk affects both. Each side gets b.N requests from four clients.
func duel(b *testing.B, ours, baseline func(client int)) {
	b.Helper()
	var r rounds
	for done := 0; done < b.N; done += turn {
		var took [2]time.Duration
		sides := []int{0, 1}
		if done/turn%2 == 1 { // neither is always the first
			slices.Reverse(sides)
		}
		for _, side := range sides {
			began := time.Now()
			together(min(turn, b.N-done), [](func(int)){ours, baseline}[side])
			took[side] = time.Since(began)
		}
		r.add(took[0], took[1])
	}
	r.report(b)
}

// newClients makes one HTTP client for each client of the benchmark.
func newClients() (list [clients]*http.Client) {
	for i := range list {
		list[i] = newClient()
	}
	return list
}

// together runs request n times, divided equally between the clients.
func together(n int, request func(client int)) {
	var work sync.WaitGroup
	for client := range clients {
		work.Go(func() {
			for i := client; i < n; i += clients {
				request(client)
			}
		})
	}
	work.Wait()
}

// rounds is how long ours and the baseline took for the same requests.
type rounds struct{ ours, baseline []time.Duration }

func (r *rounds) add(ours, baseline time.Duration) {
	r.ours, r.baseline = append(r.ours, ours), append(r.baseline, baseline)
}

// report reports how many requests each side answered a second, and the ratio of
// the two: the median over the rounds.
func (r *rounds) report(b *testing.B) {
	ratios := make([]float64, len(r.ours))
	var ours, baseline time.Duration
	for i := range ratios {
		ratios[i] = r.baseline[i].Seconds() / r.ours[i].Seconds()
		ours, baseline = ours+r.ours[i], baseline+r.baseline[i]
	}
	slices.Sort(ratios)
	b.ReportMetric(0, "ns/op") // which would be the sum of both
	b.ReportMetric(float64(b.N)/ours.Seconds(), "req/s")
	b.ReportMetric(float64(b.N)/baseline.Seconds(), "baseline-req/s")
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
}
