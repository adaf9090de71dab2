package bench

import (
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

// duel measures two sides in turns of a few requests, so that whatever else
// happens on the machine and its disk happens to both. Each side gets b.N
// requests from four clients, and reports how many it answered a second; the ratio
// is the median over the rounds of what ours did and the baseline did in the same.
func duel(b *testing.B, ours, baseline func(client int)) {
	b.Helper()
	var spent [2]time.Duration
	var ratios []float64
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
			spent[side] += took[side]
		}
		ratios = append(ratios, took[1].Seconds()/took[0].Seconds())
	}
	slices.Sort(ratios)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(b.N)/spent[0].Seconds(), "req/s")
	b.ReportMetric(float64(b.N)/spent[1].Seconds(), "baseline-req/s")
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
}

// together runs request n times, each client as many.
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
