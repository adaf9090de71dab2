package mirror

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// SecretQuery is what an origin adds to an address that it redirects to.
const SecretQuery = "X-Signature=verysecret"

// answer is what a registry answers.
func answer(r *http.Request, registry http.Handler) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	registry.ServeHTTP(recorder, r)
	return recorder
}

// begin begins to send an answer with some number of bytes.
func begin(w http.ResponseWriter, a *httptest.ResponseRecorder, length int) {
	maps.Copy(w.Header(), a.Header())
	w.Header().Set("Content-Length", fmt.Sprint(length))
	w.WriteHeader(a.Code)
}

// Refuse answers with a status and an error.
func Refuse(status int, code string, headers ...string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		for _, line := range headers {
			name, value, _ := strings.Cut(line, ": ")
			w.Header().Set(name, value)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"errors":[{"code":%q,"message":"no: %s"}]}`, code, SecretQuery)
	}
}

// Page answers with a page for people.
func Page(status int) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "<html><body>Please log in, or come back tomorrow</body></html>")
	}
}

// Silence never answers.
func Silence(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() }

// Drop closes the connection.
func Drop(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }

// Cut sends half of an answer, and closes the connection.
func Cut(w http.ResponseWriter, r *http.Request, registry http.Handler) {
	if half(w, r, registry) {
		panic(http.ErrAbortHandler)
	}
}

// Stall sends half of an answer, and then nothing.
func Stall(w http.ResponseWriter, r *http.Request, registry http.Handler) {
	if half(w, r, registry) {
		<-r.Context().Done()
	}
}

// half sends half of an answer, unless it is not OK.
func half(w http.ResponseWriter, r *http.Request, registry http.Handler) bool {
	r.Header.Del("If-None-Match")
	a := answer(r, registry)
	if a.Code/100 != 2 {
		begin(w, a, a.Body.Len())
		_, _ = w.Write(a.Body.Bytes())
		return false
	}
	if r.Method != http.MethodHead {
		begin(w, a, a.Body.Len())
		_, _ = w.Write(a.Body.Bytes()[:a.Body.Len()/2])
		_ = http.NewResponseController(w).Flush()
	}
	return true
}

// isContent reports whether a request is for what has a digest.
func isContent(r *http.Request) bool {
	return r.Method == http.MethodGet && (strings.Contains(r.URL.Path, "/manifests/") || strings.Contains(r.URL.Path, "/blobs/"))
}

// WrongBytes changes a byte of everything that has a digest.
func WrongBytes(w http.ResponseWriter, r *http.Request, registry http.Handler) {
	a := answer(r, registry)
	if isContent(r) && a.Body.Len() > 0 {
		a.Body.Bytes()[a.Body.Len()/2] ^= 1
	}
	begin(w, a, a.Body.Len())
	_, _ = w.Write(a.Body.Bytes())
}

// Empty answers without bytes whatever has a digest.
func Empty(w http.ResponseWriter, r *http.Request, registry http.Handler) {
	a := answer(r, registry)
	if !isContent(r) {
		begin(w, a, a.Body.Len())
		_, _ = w.Write(a.Body.Bytes())
		return
	}
	begin(w, a, 0)
}

// WrongLength leaves the end of everything out that has a digest, and says so.
func WrongLength(w http.ResponseWriter, r *http.Request, registry http.Handler) {
	a := answer(r, registry)
	length := a.Body.Len()
	if isContent(r) {
		length /= 2
	}
	if r.Method == http.MethodHead {
		maps.Copy(w.Header(), a.Header())
		w.WriteHeader(a.Code)
		return
	}
	begin(w, a, length)
	_, _ = w.Write(a.Body.Bytes()[:length])
}

// Endless answers without end.
func Endless(w http.ResponseWriter, r *http.Request, registry http.Handler) {
	if r.Method != http.MethodHead {
		r.Header.Del("If-None-Match")
	}
	a := answer(r, registry)
	maps.Copy(w.Header(), a.Header())
	if r.Method != http.MethodHead {
		w.Header().Del("Content-Length")
	}
	w.WriteHeader(a.Code)
	spaces := make([]byte, 64<<10)
	for i := range spaces {
		spaces[i] = ' '
	}
	for r.Method != http.MethodHead && r.Context().Err() == nil {
		if _, err := w.Write(spaces); err != nil {
			return
		}
	}
}

// Elsewhere redirects to another server, at the same path, with a signature.
func Elsewhere(url string) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Redirect(w, r, url+r.URL.Path+"?"+SecretQuery, http.StatusTemporaryRedirect)
	}
}

// ofList changes the answers of the referrers API alone.
func ofList(change Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request, registry http.Handler) {
		if strings.Contains(r.URL.Path, "/referrers/") {
			r.Header.Del("If-None-Match")
			change(w, r, registry)
			return
		}
		registry.ServeHTTP(w, r)
	}
}

// Pages lists one by one, until a fault answers the second page.
func Pages(second Fault) Fault {
	return ofList(func(w http.ResponseWriter, r *http.Request, registry http.Handler) {
		if r.URL.Query().Get("second") != "" {
			second(w, r, registry)
			return
		}
		r.URL.RawQuery = "n=1"
		a := answer(r, registry)
		w.Header().Set("Content-Type", a.Header().Get("Content-Type"))
		w.Header().Set("Link", fmt.Sprintf(`<%s?second=1>; rel="next"`, r.URL.Path))
		_, _ = w.Write(a.Body.Bytes())
	})
}

// ListsAlso adds a digest to each list.
func ListsAlso(d string) Fault {
	return ofList(func(w http.ResponseWriter, r *http.Request, registry http.Handler) {
		a := answer(r, registry)
		w.Header().Set("Content-Type", a.Header().Get("Content-Type"))
		also := fmt.Sprintf(`"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":10,"digest":%q},`, d)
		_, _ = io.WriteString(w, strings.Replace(a.Body.String(), `"manifests":[`, also, 1))
	})
}

// missing is the digest of nothing that is stored anywhere.
var missing = digest.FromString("nowhere").String()

// Row is one row of the table of faults: what clients of a mirror get. A cell is the status, with
// "age" if it must have an Age, or "broken" for a status 200 that is broken off.
type Row struct {
	Name    string
	Fault   Fault
	Timeout time.Duration
	Cold    Cells
	Stale   Cells // tag and list
	Old     Cells // tag and list
}

// Cells are those of one state.
type Cells struct{ Tag, Manifest, Blob, List string }

// NoTokens is where a server for people has nothing that gives tokens.
const NoTokens = "/tokens"

// Rows are the rows of the table. What redirects, redirects to a page for people.
func Rows(page string) []Row {
	all := func(cell string) Cells { return Cells{cell, cell, cell, cell} }
	down, aged := all("503"), all("200 age")
	denied, well := all("403"), all("200")
	list := func(cell string) Cells { return Cells{"200", "200", "200", cell} }
	const long, short = 5 * time.Second, 300 * time.Millisecond
	return []Row{
		{"refused", nil, long, down, aged, down},
		{"dropped", Drop, long, down, aged, down},
		{"slow", Silence, short, down, aged, down},
		{"stalled", Stall, short, Cells{"503", "503", "broken", "503"}, aged, down},
		{"cut", Cut, long, Cells{"503", "503", "broken", "503"}, aged, down},
		{"401", Refuse(401, "UNAUTHORIZED", `WWW-Authenticate: Basic realm="tests"`), long, denied, denied, denied},
		{"403", Refuse(403, "DENIED"), long, denied, denied, denied},
		{"404", Refuse(404, "MANIFEST_UNKNOWN"), long, all("404"), Cells{Tag: "404", List: "200 age"}, Cells{Tag: "404", List: "503"}},
		{"404name", Refuse(404, "NAME_UNKNOWN"), long, all("404"), Cells{Tag: "404", List: "200 age"}, Cells{Tag: "404", List: "503"}},
		{"429", Refuse(429, "TOOMANYREQUESTS", "Retry-After: 7"), long, down, aged, down},
		{"500", Refuse(500, "UNKNOWN"), long, down, aged, down},
		{"html200", Page(200), long, down, aged, down},
		{"html404", Page(404), long, down, aged, down},
		{"html503", Page(503), long, down, aged, down},
		{"wrongbytes", WrongBytes, long, Cells{"503", "503", "broken", "503"}, well, well},
		{"empty", Empty, long, down, well, well},
		{"notokens", Refuse(401, "UNAUTHORIZED", `WWW-Authenticate: Bearer realm="`+page+NoTokens+`",service="tests"`), long, down, aged, down},
		{"wronglength", WrongLength, long, Cells{"503", "503", "broken", "503"}, well, well},
		{"endless", Endless, long, Cells{"503", "503", "broken", "503"}, Cells{Tag: "200", List: "200 age"}, Cells{Tag: "200", List: "503"}},
		{"elsewhere", Elsewhere(page), long, down, aged, down},
		{"page2-500", Pages(Refuse(500, "UNKNOWN")), long, list("503"), list("200 age"), list("503")},
		{"page2-404", Pages(Refuse(404, "MANIFEST_UNKNOWN")), long, list("503"), list("200 age"), list("503")},
		{"page2-html", Pages(Page(200)), long, list("503"), list("200 age"), list("503")},
		{"page2-cut", Pages(Cut), long, list("503"), list("200 age"), list("503")},
		{"baddigest", ListsAlso("sha256:bad"), long, list("503"), list("200 age"), list("503")},
		{"notthere", ListsAlso(missing), long, list("503"), list("200 age"), list("503")},
	}
}
