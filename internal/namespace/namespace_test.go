package namespace_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/distribution/distribution/v3/registry/storage"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/internal/manifest"
	"github.com/oras-distribution/registry/internal/namespace"
	"github.com/oras-distribution/registry/internal/referrers"
)

const (
	artifact = "application/vnd.example.artifact"
	attached = "application/vnd.example.attached"
)

var kinds = []manifest.Type{
	{MediaType: artifact, References: []string{"config", "blobs[]"}, CreatedAnnotation: "created"},
	{MediaType: attached, SubjectMustExist: true, ArtifactTypeRequired: true},
}

// world is a namespace over distribution's, and the repository `app` in it.
type world struct {
	t         *testing.T
	driver    *hooked
	index     *referrers.Index
	namespace *namespace.Namespace
	manifests distribution.ManifestService
	blobs     distribution.BlobStore
}

// hooked is a storage driver that does something else before a file is written, and
// fails to write those for which fail returns an error.
type hooked struct {
	storagedriver.StorageDriver
	before func(path string)
	fail   func(path string) error
}

func (h *hooked) PutContent(ctx context.Context, path string, content []byte) error {
	if h.before != nil {
		h.before(path)
	}
	if h.fail != nil {
		if err := h.fail(path); err != nil {
			return err
		}
	}
	return h.StorageDriver.PutContent(ctx, path, content)
}

func newWorld(t *testing.T, options namespace.Options, stock ...storage.RegistryOption) *world {
	t.Helper()
	if err := namespace.RegisterTypes(kinds); err != nil {
		t.Fatal(err)
	}
	options.Types = manifest.NewTypes(kinds...)
	w := &world{t: t, driver: &hooked{StorageDriver: inmemory.New()}}
	if options.DeleteEnabled {
		stock = append(stock, storage.EnableDelete)
	}
	inner, err := storage.NewRegistry(t.Context(), w.driver, stock...)
	if err != nil {
		t.Fatal(err)
	}
	w.index = referrers.New(w.driver, referrers.Options{Types: options.Types})
	t.Cleanup(func() { _ = w.index.Close(context.Background()) })
	w.namespace = namespace.New(inner, w.driver, w.index, options)
	repository, err := w.namespace.Repository(t.Context(), named(t))
	if err != nil {
		t.Fatal(err)
	}
	w.blobs = repository.Blobs(t.Context())
	if w.manifests, err = repository.Manifests(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

func named(t *testing.T) reference.Named {
	t.Helper()
	name, err := reference.WithName("app")
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// put pushes content as a manifest.
func (w *world) put(mediaType, content string) (digest.Digest, error) {
	w.t.Helper()
	m, _, err := distribution.UnmarshalManifest(mediaType, []byte(content))
	if err != nil {
		w.t.Fatalf("%s: %v", content, err)
	}
	return w.manifests.Put(w.t.Context(), m)
}

func (w *world) mustPut(mediaType, content string) digest.Digest {
	w.t.Helper()
	d, err := w.put(mediaType, content)
	if err != nil || d != digest.FromString(content) {
		w.t.Fatalf("%s: %s, %v", content, d, err)
	}
	return d
}

// blob stores a blob and returns its descriptor as JSON.
func (w *world) blob(content string) string {
	w.t.Helper()
	if _, err := w.blobs.Put(w.t.Context(), "a/b", []byte(content)); err != nil {
		w.t.Fatal(err)
	}
	return descriptor("a/b", digest.FromString(content), len(content))
}

func descriptor(mediaType string, d digest.Digest, size int) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, d, size)
}

// listed are the referrers of a subject.
func (w *world) listed(subject digest.Digest) (digests []digest.Digest) {
	w.t.Helper()
	set, err := w.index.Referrers(w.t.Context(), "app", subject)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range set.Referrers {
		digests = append(digests, r.Digest)
	}
	return digests
}

// refused are the fields that a push is refused for, and the code.
func refused(t *testing.T, err error) (errcode.ErrorCode, string) {
	t.Helper()
	var coded errcode.Error
	if !errors.As(err, &coded) {
		t.Fatalf("not refused: %v", err)
	}
	var fields []string
	problems, _ := coded.Detail.([]manifest.Problem)
	for _, p := range problems {
		fields = append(fields, p.Field)
	}
	return coded.Code, strings.Join(fields, " ")
}

// Manifests of every type come back as they were pushed, and those with a subject
// are its referrers.
func TestPutAndGet(t *testing.T) {
	w := newWorld(t, namespace.Options{})
	config, layer := w.blob("config"), w.blob("layer")
	image := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`, v1.MediaTypeImageManifest, config, layer)
	subject := w.mustPut(v1.MediaTypeImageManifest, image)
	to := `,"subject":` + descriptor(v1.MediaTypeImageManifest, subject, len(image)) + `}`
	var want []digest.Digest
	for _, test := range []struct {
		mediaType, content string
		refers             bool
	}{
		{v1.MediaTypeImageManifest, strings.TrimSuffix(image, "}") + to, true},
		{v1.MediaTypeImageIndex, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[]`, v1.MediaTypeImageIndex) + to, true},
		{manifest.MediaTypeDockerManifest, strings.ReplaceAll(image, v1.MediaTypeImageManifest, manifest.MediaTypeDockerManifest), false},
		{artifact, fmt.Sprintf(`{"mediaType":%q,"config":%s,"blobs":[%s,%s]`, artifact, config, layer, layer) + to, true},
		{artifact, fmt.Sprintf(`{"mediaType":%q,"config":null}`, artifact), false},
		{artifact, fmt.Sprintf(`{"mediaType":%q,"blobs":[%s]}`, artifact, descriptor(v1.MediaTypeImageManifest, subject, len(image))), false},
		{attached, fmt.Sprintf(`{"mediaType":%q,"artifactType":"t"`, attached) + to, true},
	} {
		d := w.mustPut(test.mediaType, test.content)
		w.mustPut(test.mediaType, test.content) // again, which changes nothing
		got, err := w.manifests.Get(t.Context(), d)
		if err != nil {
			t.Fatalf("%s: %v", test.content, err)
		}
		if mediaType, content, err := got.Payload(); mediaType != test.mediaType || string(content) != test.content || err != nil {
			t.Errorf("%s comes back as %s: %s (%v)", test.content, mediaType, content, err)
		}
		if exists, err := w.manifests.Exists(t.Context(), d); !exists || err != nil {
			t.Errorf("%s: exists: %v, %v", test.content, exists, err)
		}
		if test.refers {
			want = append(want, d)
		}
	}
	got := w.listed(subject)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("listed: %v, want %v", got, want)
	}
}

func TestGetOfNoManifest(t *testing.T) {
	w := newWorld(t, namespace.Options{})
	w.blob("a blob")
	stranger := w.mustPut(artifact, `{"mediaType":"`+artifact+`"}`)
	if err := w.driver.PutContent(t.Context(), layout.BlobData(stranger), []byte(`{"mediaType":"application/vnd.unheard.of"}`)); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"nothing", "a blob"} {
		if _, err := w.manifests.Get(t.Context(), digest.FromString(text)); !errors.As(err, new(distribution.ErrManifestUnknownRevision)) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if m, err := w.manifests.Get(t.Context(), stranger); err == nil || errors.As(err, new(distribution.ErrManifestUnknownRevision)) {
		t.Errorf("a manifest of a type that nobody knows: %v, %v", m, err)
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t, namespace.Options{})
	there := w.blob("there")
	bare := w.mustPut(artifact, `{"mediaType":"`+artifact+`"}`)
	size := len(`{"mediaType":"` + artifact + `"}`)
	absent := digest.FromString("absent")
	of := func(members string) string { return `{"mediaType":"` + artifact + `",` + members + `}` }
	const missing, invalid = "missing", "invalid"
	for name, test := range map[string]struct{ mediaType, content, kind, fields string }{
		"blob missing":                {artifact, of(`"blobs":[` + there + `,` + descriptor("a/b", absent, 1) + `]`), missing, "blobs[1]"},
		"config missing":              {artifact, of(`"config":` + descriptor("a/b", absent, 1)), missing, "config"},
		"size mismatch":               {artifact, of(`"blobs":[` + descriptor("a/b", digest.FromString("there"), 6) + `]`), invalid, "blobs[0].size"},
		"both":                        {artifact, of(`"config":` + descriptor("a/b", absent, 1) + `,"blobs":[` + descriptor("a/b", digest.FromString("there"), 6) + `]`), invalid, "config blobs[0].size"},
		"manifest missing":            {artifact, of(`"blobs":[` + descriptor(artifact, absent, 1) + `]`), missing, "blobs[0]"},
		"manifest of another size":    {artifact, of(`"blobs":[` + descriptor(artifact, bare, size+1) + `]`), invalid, "blobs[0].size"},
		"manifest as a blob":          {artifact, of(`"blobs":[` + descriptor("a/b", bare, size) + `]`), missing, "blobs[0]"},
		"no descriptor":               {artifact, of(`"config":7`), invalid, "config"},
		"another type":                {artifact, `{"mediaType":"` + attached + `"}`, invalid, "mediaType"},
		"subject missing":             {attached, `{"mediaType":"` + attached + `","artifactType":"t","subject":` + descriptor("a/b", absent, 1) + `}`, invalid, "subject"},
		"subject is a blob":           {attached, `{"mediaType":"` + attached + `","artifactType":"t","subject":` + there + `}`, invalid, "subject"},
		"no artifactType":             {attached, `{"mediaType":"` + attached + `"}`, invalid, "artifactType"},
		"image with a broken subject": {v1.MediaTypeImageManifest, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[],"subject":{"digest":"x"}}`, v1.MediaTypeImageManifest, there), invalid, "subject.mediaType subject.digest subject.size"},
		"image of another version":    {v1.MediaTypeImageManifest, fmt.Sprintf(`{"schemaVersion":3,"mediaType":%q,"config":%s,"layers":[]}`, v1.MediaTypeImageManifest, there), invalid, "schemaVersion"},
	} {
		_, err := w.put(test.mediaType, test.content)
		code, fields := refused(t, err)
		if want := map[string]errcode.ErrorCode{missing: errcode.ErrorCodeManifestBlobUnknown, invalid: errcode.ErrorCodeManifestInvalid}[test.kind]; code != want || fields != test.fields {
			t.Errorf("%s: %v for %q, want %v for %q", name, code, fields, want, test.fields)
		}
		if there, err := w.index.HasRevision(t.Context(), "app", digest.FromString(test.content)); there || err != nil {
			t.Errorf("%s: refused, and in the repository: %v, %v", name, there, err)
		}
	}
}

// So many problems are reported, and how many there are beside.
func TestManyProblems(t *testing.T) {
	w := newWorld(t, namespace.Options{})
	blobs := strings.Repeat(`7,`, 249) + `7`
	_, err := w.put(artifact, `{"mediaType":"`+artifact+`","blobs":[`+blobs+`]}`)
	var coded errcode.Error
	if !errors.As(err, &coded) {
		t.Fatal(err)
	}
	problems, _ := coded.Detail.([]manifest.Problem)
	if len(problems) != 101 || problems[100].Reason != "and 150 more problems" {
		t.Errorf("%d problems: %v", len(problems), problems[len(problems)-1])
	}
}
