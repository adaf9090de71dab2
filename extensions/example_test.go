package extensions_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	_ "github.com/distribution/distribution/v3/registry/auth/silly"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/extensions"
	"github.com/oras-distribution/registry/registry"
)

func ExampleSection_Decode() {
	decode := func(values map[string]any) {
		keys := struct {
			Limit   int           `yaml:"limit"`
			Timeout time.Duration `yaml:"timeout"`
			Strict  bool          `yaml:"strict"`
			Allow   []string      `yaml:"allow"`
		}{Limit: 10, Timeout: time.Second}
		section, err := extensions.NewSection("extensions.scans", values)
		if err == nil {
			err = section.Decode(&keys)
		}
		if err == nil && keys.Limit < 1 {
			err = section.Errorf("limit", "must be at least 1, not %d", keys.Limit)
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(keys.Limit, keys.Timeout, keys.Strict, keys.Allow)
	}
	decode(nil)
	decode(map[string]any{"timeout": "1m30s", "allow": []any{"trivy"}})
	decode(map[string]any{"limits": 7})
	decode(map[string]any{"limit": "many"})
	decode(map[string]any{"limit": 0})
	decode(map[string]any{"timeout": 30})
	decode(map[string]any{"strict": "yes"})

	// Output:
	// 10 1s false []
	// 10 1m30s false [trivy]
	// extensions.scans.limits: unknown key
	// extensions.scans.limit: must be a whole number, not many
	// extensions.scans.limit: must be at least 1, not 0
	// extensions.scans.timeout: must be a duration such as "10s", not 30
	// extensions.scans.strict: must be true or false, not yes
}

// A type whose manifests have one file and a list of others, and that need a
// subject which is in the repository.
func ExampleManifestType() {
	url, stop := serve(&example{types: []extensions.ManifestType{{
		MediaType:            "application/vnd.example.note.v1+json",
		References:           []string{"text", "attachments[]"},
		CreatedAnnotation:    extensions.AnnotationOCICreated,
		ArtifactTypeRequired: true,
		SubjectMustExist:     true,
	}}})
	defer stop()
	answer := push(url, "application/vnd.example.note.v1+json", `{
		"mediaType": "application/vnd.example.note.v1+json",
		"text": {"mediaType": "text/plain", "digest": "sha256:0", "size": 1},
		"attachments": {},
		"annotations": {"org.opencontainers.image.created": "yesterday"}
	}`)
	fmt.Println(strings.ReplaceAll(answer.body, "},", "},\n"))

	// Output:
	// {"errors":[{"code":"MANIFEST_INVALID","message":"manifest invalid","detail":[{"field":"text.digest","reason":"\"sha256:0\" is not a valid digest: invalid checksum digest length"},
	// {"field":"attachments","reason":"must be a list of descriptors"},
	// {"field":"artifactType","reason":"must be given"},
	// {"field":"annotations[org.opencontainers.image.created]","reason":"\"yesterday\" is not an RFC 3339 date and time"}]}]}
}

// A listing of what refers to a subject, in an order and a form of its own.
func ExampleListing_Serve() {
	listing := extensions.Listing{
		Name:        "notes",
		ContentType: "text/plain",
		Includes:    func(r *extensions.Referrer) bool { return r.ArtifactType == "example/note" },
		Position:    func(r *extensions.Referrer) extensions.Position { return extensions.OldestFirst(r.OCICreated) },
		Append: func(body []byte, r *extensions.Referrer) []byte {
			return fmt.Appendf(body, "%s of %s", r.ArtifactType, r.OCICreated.Format(time.DateOnly))
		},
	}
	url, stop := serve(&example{routes: func(services extensions.Services) []extensions.Route {
		return []extensions.Route{{
			Name: "notes",
			Path: "/v2/{name}/notes/{reference}",
			Serve: func(w http.ResponseWriter, r *http.Request, target extensions.Target) error {
				return listing.Serve(w, r, services.Referrers, target.Repository.Name(), target.Reference)
			},
		}}
	}})
	defer stop()
	push(url, index, indexOf("example/note", "2024-02-02T00:00:00Z"))
	push(url, index, indexOf("example/note", "2024-01-01T00:00:00Z"))
	push(url, index, indexOf("example/other", "2024-03-03T00:00:00Z"))
	fmt.Println(send(http.MethodGet, url+"/v2/app/notes/"+subject, "", "").body)
	first := send(http.MethodGet, url+"/v2/app/notes/"+subject+"?n=1", "", "")
	fmt.Println(first.body, first.header.Get("Link") != "")

	// Output:
	// example/note of 2024-01-01,example/note of 2024-02-02
	// example/note of 2024-01-01 true
}

func ExampleOldestFirst() {
	fmt.Println(ordered(extensions.OldestFirst))
	// Output: 2023 2024 2025
}

func ExampleNewestFirst() {
	fmt.Println(ordered(extensions.NewestFirst))
	// Output: 2025 2024 2023
}

// What has no date is behind all that has one.
func ExampleUndated() {
	fmt.Println(ordered(func(t time.Time) extensions.Position {
		if t.Year() == 2024 {
			return extensions.Undated()
		}
		return extensions.NewestFirst(t)
	}))
	// Output: 2025 2023 2024
}

// A route that writes: clients need to be allowed to push to the repository.
func ExampleRoute() {
	url, stop := serve(&example{
		settings: "auth: {silly: {realm: example, service: registry}}",
		routes: func(extensions.Services) []extensions.Route {
			return []extensions.Route{{
				Name:    "notes",
				Path:    "/v2/{name}/notes/{reference}",
				Methods: []string{http.MethodPost},
				Access:  extensions.AccessPush,
				Serve: func(w http.ResponseWriter, _ *http.Request, target extensions.Target) error {
					w.WriteHeader(http.StatusAccepted)
					_, err := fmt.Fprintf(w, "a note on %s in %s", target.Reference, target.Repository)
					return err
				},
			}}
		},
	})
	defer stop()
	refused := send(http.MethodPost, url+"/v2/app/notes/v1", "", "")
	fmt.Println(refused.status, refused.header.Get("WWW-Authenticate"))
	accepted := send(http.MethodPost, url+"/v2/app/notes/v1", "", "", "Authorization", "Bearer token")
	fmt.Println(accepted.status, accepted.body)
	other := send(http.MethodGet, url+"/v2/app/notes/v1", "", "", "Authorization", "Bearer token")
	fmt.Println(other.status, other.header.Get("Allow"))

	// Output:
	// 401 Unauthorized Bearer realm="example",service="registry",scope="repository:app:pull repository:app:push"
	// 202 Accepted a note on v1 in app
	// 405 Method Not Allowed POST
}

// A Wrapper that says in a header what the pushed manifest is attached to.
func ExampleWithPush() {
	url, stop := serve(&example{wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, push := extensions.WithPush(r.Context())
			recorder := httptest.NewRecorder()
			next.ServeHTTP(recorder, r.WithContext(ctx))
			if push.Subject != "" {
				w.Header().Set("X-Attached-To", push.Subject.String())
			}
			w.WriteHeader(recorder.Code)
		})
	}})
	defer stop()
	answer := push(url, index, indexOf("example/note", "2024-01-01T00:00:00Z"))
	fmt.Println(answer.status, answer.header.Get("X-Attached-To") == subject)

	// Output: 201 Created true
}

// example is an extension that brings what an Example shows.
type example struct {
	settings string
	types    []extensions.ManifestType
	routes   func(extensions.Services) []extensions.Route
	wrap     func(http.Handler) http.Handler
}

func (*example) Name() string                               { return "example" }
func (e *example) ManifestTypes() []extensions.ManifestType { return e.types }

func (e *example) Routes(services extensions.Services) []extensions.Route {
	if e.routes == nil {
		return nil
	}
	return e.routes(services)
}

func (e *example) Wrap(next http.Handler) http.Handler {
	if e.wrap == nil {
		return next
	}
	return e.wrap(next)
}

// serve serves a registry with the extension.
func serve(e *example) (url string, stop func()) {
	config, err := registry.ParseConfig([]byte("version: 0.1\nlog: {accesslog: {disabled: true}}\nstorage: inmemory\n" + e.settings))
	if err != nil {
		panic(err)
	}
	r, err := registry.New(context.Background(), config, e)
	if err != nil {
		panic(err)
	}
	server := httptest.NewServer(r)
	return server.URL, func() {
		server.Close()
		_ = r.Shutdown(context.Background())
	}
}

// ordered lists manifests of three years by their position.
func ordered(position func(time.Time) extensions.Position) string {
	listing := extensions.Listing{
		Name:     "years",
		Position: func(r *extensions.Referrer) extensions.Position { return position(r.OCICreated) },
		Append:   func(body []byte, r *extensions.Referrer) []byte { return append(body, r.OCICreated.Format("2006")...) },
	}
	answer := httptest.NewRecorder()
	request := httptest.NewRequest(http.MethodGet, "/years/app/"+subject, nil)
	if err := listing.Serve(answer, request, years{2024, 2023, 2025}, "app", subject); err != nil {
		return err.Error()
	}
	return strings.ReplaceAll(answer.Body.String(), ",", " ")
}

// years is a Lister that knows a referrer of each year.
type years []int

func (y years) Referrers(context.Context, string, digest.Digest) (*extensions.ReferrerSet, error) {
	set := new(extensions.ReferrerSet)
	for _, year := range y {
		set.Referrers = append(set.Referrers, &extensions.Referrer{
			Digest: digest.FromString(fmt.Sprint(year)), OCICreated: time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC),
		})
	}
	return set, nil
}

const index = "application/vnd.oci.image.index.v1+json"

var subject = digest.FromString("the manifest of an image").String()

// indexOf is an empty index that refers to the subject.
func indexOf(artifactType, created string) string {
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"artifactType":%q,"manifests":[],"subject":{"mediaType":%q,"digest":%q,"size":24},"annotations":{%q:%q}}`,
		index, artifactType, index, subject, extensions.AnnotationOCICreated, created)
}

type answer struct {
	status string
	header http.Header
	body   string
}

func push(url, mediaType, content string) answer {
	return send(http.MethodPut, url+"/v2/app/manifests/"+digest.FromString(content).String(), mediaType, content)
}

func send(method, url, contentType, body string, header ...string) answer {
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	request.Header.Set("Content-Type", contentType)
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		panic(err)
	}
	return answer{response.Status, response.Header, strings.TrimSpace(string(content))}
}
