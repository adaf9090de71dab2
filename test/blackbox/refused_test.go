package blackbox_test

import (
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// An upload whose bytes do not have its digest leaves no file behind, be it a single POST
// or several requests.
func TestRefusedUploadsLeaveNothing(t *testing.T) {
	r := harness.Start(t, harness.Options{})
	c := r.Client()
	for _, d := range []digest.Digest{digest.FromString("expected"), digest.SHA512.FromString("expected")} {
		query := "?digest=" + d.String()
		c.Send(http.MethodPost, "/v2/app/blobs/uploads/"+query, []byte("other")).ExpectError(http.StatusBadRequest, "DIGEST_INVALID")
		upload := c.Send(http.MethodPost, "/v2/app/blobs/uploads/", nil).Expect(http.StatusAccepted)
		c.Send(http.MethodPut, upload.Header.Get("Location")+"&digest="+d.String(), []byte("other")).ExpectError(http.StatusBadRequest, "DIGEST_INVALID")
	}
	err := filepath.WalkDir(r.Root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && !strings.Contains(path, layout.Collection) {
			t.Errorf("%s is left", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A referrer that was deleted is no damaged entry, in no later process.
func TestDeletedReferrersAreNotReported(t *testing.T) {
	r := harness.Start(t, harness.Options{})
	c := r.Client()
	image := c.PushImage("app", "v1", "layer")
	deleted := c.MustPush("app", "", harness.OCIImage(c.PushBlob("app", []byte("signature"))).To(image))
	r.Restart() // which writes down what is known of the manifests
	c = r.Client()
	c.DeleteManifest("app", deleted.Digest)
	r.Restart()
	if list := r.Client().Referrers(harness.OCI, "app", image.Digest); len(list) > 0 {
		t.Errorf("%+v is listed", list)
	}
	if log := r.Log(); strings.Contains(log, "leaving a manifest out") {
		t.Error(log)
	}
}
