package collection

import (
	"slices"
	"testing"
)

func TestCandidates(t *testing.T) {
	c, err := decodeCandidates(encodeCandidates(onlineRun, [][]Key{{9, 3}, {}, {7}}))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[Key]int{9: 0, 3: 0, 7: 2} {
		if n, ok := c.batch(key); !ok || n != want {
			t.Errorf("key %d is in batch %d, %t, want %d", key, n, ok, want)
		}
	}
	if _, ok := c.batch(8); ok {
		t.Error("8 is no candidate")
	}
	whole := encodeCandidates(onlineRun, [][]Key{{1, 2}})
	for _, broken := range [][]byte{nil, {7}, whole[:3], whole[:len(whole)-1], append(slices.Clone(whole), 1)} {
		if _, err := decodeCandidates(broken); err == nil {
			t.Errorf("%v is decoded", broken)
		}
	}
}

// A suspect is one until it is seen, after the run that may have removed it.
func TestSuspects(t *testing.T) {
	var s suspects
	if s.has(1) {
		t.Error("there are none")
	}
	s.add([]Key{1, 2}, true)
	offline := s.add([]Key{2, 3}, false)
	s.add([]Key{4}, true)
	s.clear(1)
	s.clear(2) // the second run may remove it still
	for key, want := range map[Key]bool{1: false, 2: true, 3: true, 4: true, 5: false} {
		if s.has(key) != want {
			t.Errorf("%d is a suspect: %t", key, !want)
		}
	}
	s.end(offline)
	s.clear(2)
	if s.has(2) {
		t.Error("2 has been seen")
	}
	s.everything()
	s.clear(6)
	if s.has(6) || !s.has(5) {
		t.Error("everything is a suspect but what has been seen")
	}
}
