package faultdriver_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"

	"github.com/oras-distribution/registry/test/internal/faultdriver"
)

func TestFaults(t *testing.T) {
	t.Parallel()
	for fault, want := range map[faultdriver.Fault]struct {
		content string
		fails   bool
	}{
		faultdriver.None:  {"1234", false},
		faultdriver.Fail:  {"old", true},
		faultdriver.Hang:  {"old", true},
		faultdriver.Half:  {"12", true},
		faultdriver.Stray: {"old", true},
		faultdriver.Lost:  {"1234", true},
		faultdriver.Late:  {"1234", false},
	} {
		t.Run(fault.String(), func(t *testing.T) {
			t.Parallel()
			d := faultdriver.New(faultdriver.NewObjects("objects"))
			if err := d.PutContent(t.Context(), "/a", []byte("old")); err != nil {
				t.Fatal(err)
			}
			d.Reset()
			d.FailAt(2, fault)
			if _, err := d.Stat(t.Context(), "/a"); err != nil {
				t.Fatal("the operation before failed:", err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				select {
				case <-d.Waiting():
					cancel()
				case <-ctx.Done():
				}
			}()
			if err := d.PutContent(ctx, "/a", []byte("1234")); (err != nil) != want.fails {
				t.Errorf("the operation returned %v", err)
			}
			if content, err := d.GetContent(t.Context(), "/a"); err != nil || string(content) != want.content {
				t.Errorf("the content is %q, %v; expected %q", content, err, want.content)
			}
			if want := []faultdriver.Operation{{Method: "Stat", Path: "/a"}, {Method: "PutContent", Path: "/a"}, {Method: "GetContent", Path: "/a"}}; !slices.Equal(d.Operations(), want) {
				t.Errorf("the operations are %v", d.Operations())
			}
		})
	}
}

func TestHalfReader(t *testing.T) {
	t.Parallel()
	d := faultdriver.New(faultdriver.NewObjects("objects"))
	if err := d.PutContent(t.Context(), "/a", []byte("123456")); err != nil {
		t.Fatal(err)
	}
	d.Reset()
	d.FailAt(1, faultdriver.Half)
	r, err := d.Reader(t.Context(), "/a", 2)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var failed storagedriver.Error
	if content, err := io.ReadAll(r); string(content) != "34" || !errors.As(err, &failed) || !errors.Is(failed.Detail, faultdriver.ErrInjected) {
		t.Errorf("read %q, %v", content, err)
	}
}

func TestClone(t *testing.T) {
	t.Parallel()
	a := faultdriver.NewObjects("objects")
	if err := a.PutContent(t.Context(), "/a", nil); err != nil {
		t.Fatal(err)
	}
	b := a.Clone()
	if err := b.PutContent(t.Context(), "/b/c", nil); err != nil {
		t.Fatal(err)
	}
	if files := a.Files(); !slices.Equal(files, []string{"/a"}) {
		t.Errorf("the original has %q", files)
	}
	if files := b.Files(); !slices.Equal(files, []string{"/a", "/b/c"}) {
		t.Errorf("the copy has %q", files)
	}
}

// Operations that hang do what they were to do when the driver continues.
func TestContinue(t *testing.T) {
	t.Parallel()
	d := faultdriver.New(faultdriver.NewObjects("objects"))
	d.FailFrom(1, faultdriver.Hang)
	written := make(chan error, 1)
	go func() { written <- d.PutContent(t.Context(), "/a", []byte("1234")) }()
	<-d.Waiting()
	d.Continue()
	if err := <-written; err != nil {
		t.Error(err)
	}
	if content, err := d.GetContent(t.Context(), "/a"); err != nil || string(content) != "1234" {
		t.Errorf("the content is %q, %v", content, err)
	}
}
