package blackbox_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// event is what a notification says of a manifest.
type event struct {
	Action string
	Target struct {
		MediaType, Digest, Repository, Tag, URL string
		Size                                    int
	}
}

// receiver starts an endpoint for notifications, and returns the configuration
// for it and the events of manifests that it gets.
func receiver(t *testing.T) (config string, events <-chan event) {
	t.Helper()
	received := make(chan event, 1000)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var envelope struct{ Events []event }
		if err := json.NewDecoder(r.Body).Decode(&envelope); err != nil {
			t.Error(err)
		}
		for _, e := range envelope.Events {
			if e.Target.MediaType != "application/octet-stream" {
				received <- e
			}
		}
	}))
	t.Cleanup(server.Close)
	return "notifications: {endpoints: [{name: tests, url: '" + server.URL + "', timeout: 5s, threshold: 3, backoff: 50ms}]}", received
}

func TestNotifications(t *testing.T) {
	for _, driver := range harness.Drivers() {
		t.Run(driver, func(t *testing.T) {
			config, events := receiver(t)
			c := harness.Start(t, harness.Options{Driver: driver, Config: config}).Client()
			_, kinds := everyKind(c, "app")
			expectEvent(t, events, "push", "v1", "")
			for _, kind := range kinds {
				d := kind.manifest.Digest().String()
				c.MustPush("app", "tag", kind.manifest)
				expectEvent(t, events, "push", "tag", d)
				c.GetManifest("app", d).Expect(http.StatusOK)
				pulled := expectEvent(t, events, "pull", "", d)
				if pulled.Target.MediaType != kind.manifest.ContentType || pulled.Target.Size != len(kind.manifest.Bytes()) {
					t.Errorf("%s is reported as %+v", kind.name, pulled)
				}
				c.Get("/oras/artifacts/v1/app/manifests/"+d, harness.AcceptAll).Expect(http.StatusOK)
				expectEvent(t, events, "pull", "", d)
				c.DeleteManifest("app", kind.manifest.Digest())
				expectEvent(t, events, "delete", "", d)
			}
			// A refused push causes no event: the next event is about what follows it.
			c.Push("app", "bad", harness.ORASArtifact("")).Expect(http.StatusBadRequest)
			last := harness.ORASArtifact("a/b")
			c.MustPush("app", "last", last)
			expectEvent(t, events, "push", "last", last.Digest().String())
		})
	}
}

// expectEvent takes the next event and expects it to be the one given; an empty
// tag or digest is not compared.
func expectEvent(t *testing.T, events <-chan event, action, tag, digest string) event {
	t.Helper()
	for {
		select {
		case e := <-events:
			if e.Action == "delete" && e.Target.Tag != "" {
				continue // about a tag that was deleted with its manifest
			}
			if e.Action != action || tag != "" && e.Target.Tag != tag || digest != "" && e.Target.Digest != digest || e.Target.Repository != "app" {
				t.Fatalf("the event is %+v, want %s of %s %s", e, action, tag, digest)
			}
			return e
		case <-time.After(30 * time.Second):
			t.Fatalf("no event for %s of %s %s", action, tag, digest)
		}
	}
}
