package push_test

import (
	"context"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/push"
)

// What is reported in the context, or in one made from it, is told to who asked
// last.
func TestPush(t *testing.T) {
	subject := digest.FromString("subject")
	outer, told := push.With(context.Background())
	inner, toldInner := push.With(outer)
	ctx, cancel := context.WithCancel(inner)
	defer cancel()
	push.From(ctx).Subject = subject
	if toldInner.Subject != subject || told.Subject != "" {
		t.Errorf("told %q and %q", toldInner.Subject, told.Subject)
	}
	push.From(outer).Subject = subject
	if told.Subject != subject {
		t.Errorf("told %q", told.Subject)
	}
}

// Where nobody asked, a report is lost.
func TestPushThatNobodyAskedFor(t *testing.T) {
	push.From(context.Background()).Subject = digest.FromString("subject")
	if got := push.From(context.Background()).Subject; got != "" {
		t.Errorf("told %q", got)
	}
}
