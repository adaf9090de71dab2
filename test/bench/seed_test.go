// Package bench measures listing, pushing and pulling side by side with their baselines:
// the same bytes from memory, and distribution alone.
package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/extensions/oci"
	"github.com/oras-distribution/registry/extensions/oras"
	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/registry"
	"github.com/oras-distribution/registry/test/internal/harness"
)

func TestMain(m *testing.M) {
	logrus.SetLevel(logrus.ErrorLevel)
	m.Run()
}

// configText is the configuration of a registry on the filesystem at root.
func configText(root string) []byte {
	return fmt.Appendf(nil, `{version: "0.1", log: {level: error, accesslog: {disabled: true}},
storage: {filesystem: {rootdirectory: %q}, delete: {enabled: true}, cache: {blobdescriptor: inmemory}, maintenance: {uploadpurging: {enabled: false}}},
http: {secret: bench}}`, root)
}

// serveOurs serves the registry with its extensions from a storage tree.
func serveOurs(tb testing.TB, root string, more ...extensions.Extension) *httptest.Server {
	tb.Helper()
	config, err := registry.ParseConfig(configText(root))
	if err != nil {
		tb.Fatal(err)
	}
	r, err := registry.New(context.Background(), config, append(more, oras.New(), oci.New())...)
	if err != nil {
		tb.Fatal(err)
	}
	return serve(tb, r, func() error { return r.Shutdown(context.Background()) })
}

// serveStock serves distribution alone.
func serveStock(tb testing.TB, root string) *httptest.Server {
	tb.Helper()
	return serve(tb, handlers.NewApp(context.Background(), parse(tb, root)), func() error { return nil })
}

func serve(tb testing.TB, handler http.Handler, shutdown func() error) *httptest.Server {
	server := httptest.NewServer(handler)
	tb.Cleanup(func() {
		server.Close()
		if err := shutdown(); err != nil {
			tb.Error(err)
		}
	})
	return server
}

func parse(tb testing.TB, root string) *configuration.Configuration {
	tb.Helper()
	reader, writer := io.Pipe()
	go func() { _, err := writer.Write(configText(root)); _ = writer.CloseWithError(err) }()
	config, err := configuration.Parse(reader)
	if err != nil {
		tb.Fatal(err)
	}
	return config
}

func newDriver(root string) storagedriver.StorageDriver {
	return filesystem.New(filesystem.DriverParameters{RootDirectory: root, MaxThreads: 100})
}

// manifestOf is the bytes of the i-th manifest that refers to subject, or to
// nothing if that is empty, as a signing client writes them.
func manifestOf(tb testing.TB, config, subject digest.Digest, i int) []byte {
	tb.Helper()
	m := v1.Manifest{
		MediaType:    v1.MediaTypeImageManifest,
		ArtifactType: "application/vnd.example.signature.v1+json",
		Config:       v1.Descriptor{MediaType: v1.MediaTypeEmptyJSON, Digest: config, Size: 2},
		Layers:       []v1.Descriptor{{MediaType: v1.MediaTypeEmptyJSON, Digest: config, Size: 2}},
		Annotations: map[string]string{
			v1.AnnotationCreated: time.Unix(1_700_000_000+int64(i), 0).UTC().Format(time.RFC3339),
			"org.example.key":    fmt.Sprintf("key-%d", i),
		},
	}
	m.SchemaVersion = 2
	if subject != "" {
		m.Subject = &v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: subject, Size: 500}
	}
	content, err := json.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return content
}

// storeManifest puts a manifest into a repository.
func storeManifest(s *harness.Seed, content []byte) digest.Digest {
	return s.Manifest(harness.Manifest{Raw: content}).Digest
}

// storeConfig puts the empty config into a repository.
func storeConfig(s *harness.Seed) digest.Digest { return s.Blob([]byte("{}")).Digest }

// seed makes a repository with one subject that n manifests refer to, attached
// an hour ago.
func seed(tb testing.TB, root, repository string, n int) (subject digest.Digest) {
	tb.Helper()
	s := harness.NewSeed(tb, root, repository)
	config := storeConfig(s)
	subject = storeManifest(s, manifestOf(tb, config, "", -1))
	for i := range n {
		s.Link(subject, storeManifest(s, manifestOf(tb, config, subject, i)))
	}
	age(tb, filepath.Join(root, layout.Referrers(repository, subject, digest.Canonical)))
	return subject
}

// age makes a folder look as if it had not been changed for an hour.
func age(tb testing.TB, folder string) {
	tb.Helper()
	then := time.Now().Add(-time.Hour)
	if err := os.Chtimes(folder, then, then); err != nil {
		tb.Fatal(err)
	}
}
