package collection

import (
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

func TestRecent(t *testing.T) {
	r := newRecent(time.Hour, 1<<16, 0)
	for i := range 1000 {
		r.add(time.Duration(i)*time.Second, LinkKey("a", digest.FromString(string(rune(i)))))
	}
	for i := range 1000 {
		if !r.has(LinkKey("a", digest.FromString(string(rune(i))))) {
			t.Fatalf("%d is forgotten", i)
		}
	}
	r.add(3*time.Hour, 1)
	if r.has(LinkKey("a", digest.FromString(string(rune(1))))) {
		t.Error("remembered for hours")
	}
	r.advance(6 * time.Hour)
	if r.has(1) {
		t.Error("remembered for hours when nothing else is used")
	}
}
