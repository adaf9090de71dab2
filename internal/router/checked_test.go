package router

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const upload = "01a219d6-b4f1-7245-bf22-1da04593d074"

func TestChecked(t *testing.T) {
	long := strings.Repeat("a", 256)
	for _, test := range []struct {
		method, target, header string
		status                 int // 0 where distribution answers
		code                   string
	}{
		{"GET", "/v2/app/tags/list", "", 0, ""},
		{"GET", "/v2/app/tags/list?last=v1", "", 0, ""},
		{"GET", "/v2/app/tags/list?last=", "", 0, ""},
		{"GET", "/v2/app/tags/list?last=a%2Fb", "", 400, "TAG_INVALID"},
		{"GET", "/v2/app/tags/list?last=v1%0A", "", 400, "TAG_INVALID"},
		{"GET", "/v2/" + long + "/tags/list", "", 400, "NAME_INVALID"},
		{"GET", "/v2/" + long + "/manifests/v1", "", 400, "NAME_INVALID"},
		{"GET", "/v2/" + long + "/blobs/x", "", 400, "NAME_INVALID"},
		{"POST", "/v2/" + long + "/blobs/uploads/", "", 400, "NAME_INVALID"},
		{"GET", "/v2/example.com:5000/app/tags/list", "", 400, "NAME_INVALID"},
		{"GET", "/v2/Example.com/app/tags/list", "", 0, ""},
		{"GET", "/v2/_catalog?last=app", "", 0, ""},
		{"GET", "/v2/_catalog?last=..%2Fapp", "", 400, "NAME_INVALID"},
		{"GET", "/v2/", "", 0, ""},
		{"GET", "/v2/" + long, "", 0, ""},
		{"POST", "/v2/app/blobs/uploads/?digest=x", "", 400, "DIGEST_INVALID"},
		{"POST", "/v2/app/blobs/uploads/?digest=x&mount=x", "", 0, ""},
		{"POST", "/v2/app/blobs/uploads/", "", 0, ""},
		{"GET", "/v2/app/blobs/uploads/" + upload, "", 0, ""},
		{"GET", "/v2/app/blobs/uploads/a=b", "", 404, "BLOB_UPLOAD_UNKNOWN"},
		{"PUT", "/v2/a/blobs/uploads/b/blobs/uploads/c", "", 404, "BLOB_UPLOAD_UNKNOWN"},
		{"PATCH", "/v2/app/blobs/uploads/" + upload, "Content-Range: 0-9", 0, ""},
		{"PATCH", "/v2/app/blobs/uploads/" + upload, "Content-Range: bytes 0-9/10", 416, "RANGE_INVALID"},
		{"PUT", "/v2/app/blobs/uploads/" + upload, "Content-Range: 0", 416, "RANGE_INVALID"},
		{"PATCH", "/v2/app/blobs/uploads/" + upload, "Content-Type: application/octet-stream", 0, ""},
		{"PATCH", "/v2/app/blobs/uploads/" + upload, "Content-Type: text/plain", 415, "BLOB_UPLOAD_INVALID"},
		{"PUT", "/v2/app/blobs/uploads/" + upload, "Content-Type: text/plain", 0, ""},
	} {
		for _, prefix := range []string{"", "/a/prefix/"} {
			for _, refused := range []bool{false, true} {
				options := Options{Prefix: prefix, Headers: http.Header{"X-Test": {"yes"}}}
				if refused {
					options.Controller = &guard{err: challenge{errors.New("no credentials")}}
				}
				request := httptest.NewRequest(test.method, strings.TrimRight(prefix, "/")+test.target, nil)
				if name, value, ok := strings.Cut(test.header, ": "); ok {
					request.Header.Set(name, value)
				}
				w := httptest.NewRecorder()
				Checked(next, options).ServeHTTP(w, request)
				status, want := test.status, test.code
				switch {
				case status == 0:
					status = http.StatusOK
				case refused && (want != "NAME_INVALID" || strings.Contains(test.target, "_catalog")):
					status, want = http.StatusUnauthorized, "UNAUTHORIZED"
				}
				if w.Code != status || code(w) != want || test.status != 0 && w.Header().Get("X-Test") != "yes" {
					t.Errorf("%s %s%s %s: %d %s", test.method, prefix, test.target, test.header, w.Code, w.Body)
				}
			}
		}
	}
}
