package mirror_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
)

// lie is an answer of an origin that is none.
type lie struct {
	status int
	body   string
	tag    string // the body of the referrers tag; empty: 404
}

// An image that is signed at its origin never looks unsigned, whatever is answered in its
// place: the client gets an error, or what was said before.
func TestLiesAboutReferrers(t *testing.T) {
	const list = `{"schemaVersion":2,"mediaType":"` + index + `","manifests":[]}`
	for name, lie := range map[string]lie{
		"nothing has changed":        {status: http.StatusNotModified},
		"null":                       {status: http.StatusOK, body: `null`},
		"no members":                 {status: http.StatusOK, body: `{}`},
		"errors":                     {status: http.StatusOK, body: `{"errors":[{"code":"TOOMANYREQUESTS"}]}`},
		"a list and errors":          {status: http.StatusOK, body: strings.TrimSuffix(list, "}") + `,"errors":[]}`},
		"no manifests":               {status: http.StatusOK, body: `{"schemaVersion":2,"mediaType":"` + index + `"}`},
		"manifests: null":            {status: http.StatusOK, body: strings.Replace(list, "[]", "null", 1)},
		"another version":            {status: http.StatusOK, body: strings.Replace(list, "2", "1", 1)},
		"another type":               {status: http.StatusOK, body: strings.Replace(list, "index", "manifest", 1)},
		"manifests twice":            {status: http.StatusOK, body: strings.TrimSuffix(list, "}") + `,"manifests":[]}`},
		"MANIFESTS":                  {status: http.StatusOK, body: strings.Replace(list, "manifests", "MANIFESTS", 1)},
		"two documents":              {status: http.StatusOK, body: list + list},
		"no such repository":         {status: http.StatusNotFound, body: `{"errors":[{"code":"NAME_UNKNOWN"}]}`},
		"a tag without manifests":    {status: http.StatusNotFound, tag: `{"schemaVersion":2,"mediaType":"` + index + `"}`},
		"a tag with MANIFESTS":       {status: http.StatusNotFound, tag: strings.Replace(list, "manifests", "MANIFESTS", 1)},
		"a tag with manifests twice": {status: http.StatusNotFound, tag: strings.TrimSuffix(list, "}") + `,"manifests":[]}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			honest, stop := serve("storage: inmemory")
			defer stop()
			image := put(honest, `{"schemaVersion":2,"mediaType":"`+index+`","manifests":[]}`)
			put(honest, signatureOf(image))
			var lying atomic.Bool
			origin := httptest.NewServer(lie.before(honest, &lying))
			defer origin.Close()
			for _, known := range []bool{false, true} {
				mirror, stop := serve(`
storage: inmemory
extensions: {mirror: {upstreams: {origin.example: {url: "` + origin.URL + `", ttl: 1ns}}}}`)
				defer stop()
				lying.Store(!known)
				get(t, mirror+"/v2/origin.example/app/manifests/"+image.String())
				status, body := get(t, mirror+"/v2/origin.example/app/referrers/"+image.String())
				if !known && status != http.StatusServiceUnavailable {
					t.Errorf("nothing is known: %d %s", status, body)
				}
				if !known {
					continue
				}
				lying.Store(true)
				status, later := get(t, mirror+"/v2/origin.example/app/referrers/"+image.String())
				if status != http.StatusOK || later != body || !strings.Contains(body, "example/note") {
					t.Errorf("the list is known: %s, then %d %s", body, status, later)
				}
			}
		})
	}
}

// before is an origin that lies about referrers, and serves all else.
func (l lie) before(honest string, lying *atomic.Bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		isTag := strings.Contains(r.URL.Path, "/manifests/sha256-")
		isList := strings.Contains(r.URL.Path, "/referrers/")
		isManifest := strings.Contains(r.URL.Path, "/manifests/sha256:")
		switch {
		case lying.Load() && isTag && l.tag != "":
			w.Header().Set("Content-Type", index)
			w.Header().Set("Docker-Content-Digest", digest.FromString(l.tag).String())
			_, _ = io.WriteString(w, l.tag)
		case lying.Load() && (isList || isTag):
			w.Header().Set("Content-Type", index)
			w.WriteHeader(l.status)
			if l.status != http.StatusNotModified {
				_, _ = io.WriteString(w, l.body)
			}
		case lying.Load() && isManifest && strings.Contains(l.body, "NAME_UNKNOWN") && r.Method == http.MethodHead:
			http.Error(w, l.body, http.StatusNotFound)
		default:
			forward(w, r, honest)
		}
	})
}

// forward has another server answer a request.
func forward(w http.ResponseWriter, r *http.Request, to string) {
	request, err := http.NewRequestWithContext(r.Context(), r.Method, to+r.URL.Path, nil)
	if err != nil {
		panic(err)
	}
	request.Header = r.Header
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		panic(err)
	}
	defer answer.Body.Close()
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.StatusCode)
	_, _ = io.Copy(w, answer.Body)
}

func signatureOf(image digest.Digest) string {
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"artifactType":"example/note","manifests":[],"subject":{"mediaType":%q,"digest":%q,"size":88}}`, index, index, image)
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", index)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(content)
}
