// Package access_test tests who may do what: every route with every method and every
// kind of credentials.
package access_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// The repositories: one that the credentials are for, one of somebody else, and one that
// does not exist and whose name is as long as the first one's.
const (
	private = "private/app"
	other   = "other/app"
	missing = "missing/app"
)

// fixture is a registry with an image and a signature in two repositories.
type fixture struct {
	registry  *harness.Registry
	image     harness.Descriptor
	blob      harness.Descriptor
	signature harness.Manifest
}

// start starts a registry that requires credentials, and fills it with those that allow
// everything.
func start(t *testing.T, driver, config, everything string) fixture {
	t.Helper()
	f := fixture{registry: harness.Start(t, harness.Options{Driver: driver, Config: config})}
	f.fill(f.registry.Client().With(everything))
	return f
}

func (f *fixture) fill(c *harness.Client) {
	for _, repository := range []string{private, other} {
		f.image = c.PushImage(repository, "v1", "layer")
		f.blob = c.PushBlob(repository, []byte("a signature"))
		f.signature = harness.ORASArtifact("signature/example", f.blob).To(f.image)
		c.MustPush(repository, "signature", f.signature)
	}
}

// need is the access that a request requires.
type need int

const (
	credentials need = iota // any valid ones
	pull
	pullAndPush
	deletion
	catalog
)

// request is one row of the matrix.
type request struct {
	method, path string
	body         []byte
	contentType  string
	need         need
	status       int // with the required access, in the repository private
}

// requests are all routes with all methods that they accept or refuse.
func (f *fixture) requests(repository string) []request {
	d := f.image.Digest.String()
	var list []request
	for _, path := range []string{
		"/v2/" + repository + "/referrers/" + d, "/v2/" + repository + "/referrers/" + d + "?n=1&artifactType=a",
		"/v2/" + repository + "/_oras/artifacts/referrers?digest=" + d,
		"/oras/artifacts/v1/" + repository + "/manifests/" + d + "/referrers",
		"/oras/artifacts/v1/" + repository + "/manifests/" + d, "/oras/artifacts/v1/" + repository + "/manifests/signature",
		"/v2/" + repository + "/_oci/ext/discover",
	} {
		list = append(list, request{"GET", path, nil, "", pull, 200}, request{"HEAD", path, nil, "", pull, 200})
		for _, method := range []string{"PUT", "POST", "PATCH", "DELETE", "OPTIONS"} {
			list = append(list, request{method, path, nil, "", pull, 405})
		}
	}
	bad := []request{
		{"GET", "/v2/" + repository + "/referrers/sha256:bad", nil, "", pull, 400},
		{"GET", "/v2/" + repository + "/referrers/" + d + "?n=0", nil, "", pull, 400},
		{"GET", "/v2/" + repository + "/referrers/" + d + "?nextToken=x", nil, "", pull, 400},
		{"GET", "/v2/" + repository + "/referrers/" + d + "?artifactType=" + strings.Repeat("a", 9000), nil, "", pull, 414},
		{"GET", "/v2/" + repository + "/_oras/artifacts/referrers", nil, "", pull, 400},
	}
	manifest := harness.ManifestPath(repository, d)
	signature := harness.ManifestPath(repository, "new")
	artifact := f.signature.Annotated("new", "yes")
	tagged := harness.ManifestPath(repository, artifact.Digest().String())
	stock := []request{
		{"GET", "/v2/_oci/ext/discover", nil, "", credentials, 200},
		{"HEAD", "/v2/_oci/ext/discover", nil, "", credentials, 200},
		{"GET", "/v2/", nil, "", credentials, 200},
		{"GET", "/v2/_catalog", nil, "", catalog, 200},
		{"GET", manifest, nil, "", pull, 200},
		{"HEAD", manifest, nil, "", pull, 200},
		{"GET", harness.BlobPath(repository, f.blob.Digest), nil, "", pull, 200},
		{"GET", "/v2/" + repository + "/tags/list", nil, "", pull, 200},
		{"POST", "/v2/" + repository + "/blobs/uploads/", nil, "", pullAndPush, 202},
		{"POST", "/v2/" + repository + "/blobs/uploads/?digest=" + digest.FromString("new").String(), []byte("new"), "", pullAndPush, 201},
		{"POST", "/v2/" + repository + "/blobs/uploads/?digest=" + digest.FromString("new").String(), []byte("old"), "", pullAndPush, 400},
		{"POST", "/v2/" + repository + "/blobs/uploads/?digest=new", []byte("new"), "", pullAndPush, 400},
		{"PATCH", "/v2/" + repository + "/blobs/uploads/none", nil, "", pullAndPush, 404},
		{"DELETE", "/v2/" + repository + "/blobs/uploads/none", nil, "", deletion, 404},
		{"GET", "/v2/" + repository + "/blobs/uploads/none", nil, "", pull, 404},
		{"GET", "/v2/" + repository + "/tags/list?last=a/b", nil, "", pull, 400},
		{"GET", "/v2/_catalog?last=A", nil, "", catalog, 400},
		{"PUT", signature, artifact.Bytes(), artifact.ContentType, pullAndPush, 201},
		{"PUT", signature, []byte("{}"), artifact.ContentType, pullAndPush, 400},
		{"PUT", tagged + "?tag=a&tag=b", artifact.Bytes(), artifact.ContentType, pullAndPush, 201},
		{"PUT", tagged + "?tag=a&tag=-", artifact.Bytes(), artifact.ContentType, pullAndPush, 400},
		{"PUT", tagged + "?" + strings.Repeat("&tag=a", 101), artifact.Bytes(), artifact.ContentType, pullAndPush, 414},
		{"DELETE", harness.ManifestPath(repository, artifact.Digest().String()), nil, "", deletion, 202},
		{"DELETE", harness.ManifestPath(repository, artifact.Digest().String()), nil, "", deletion, 404},
	}
	return append(append(list, bad...), stock...)
}

// holder is somebody with credentials.
type holder struct {
	name          string
	authorization string
	may           map[need]bool
}

// send sends a request of the matrix as somebody.
func (r request) send(c *harness.Client, who holder, headers ...string) *harness.Response {
	if r.contentType != "" {
		headers = append(headers, "Content-Type: "+r.contentType)
	}
	return c.With(who.authorization).Send(r.method, r.path, r.body, append(headers, harness.AcceptAll)...)
}

// matrix sends every request as everybody, first as those with most access, so that
// anything that is cached for them is there when the others ask.
func (f *fixture) matrix(t *testing.T, holders []holder) {
	t.Helper()
	c := f.registry.Client()
	cells := 0
	for _, who := range holders {
		t.Run(who.name, func(t *testing.T) {
			c := c.For(t)
			for _, r := range f.requests(private) {
				cells++
				resp := r.send(c, who)
				if !who.may[r.need] {
					f.refused(t, c, r, who, resp)
				} else if resp.Status != r.status {
					t.Errorf("expected %d: %s", r.status, resp)
				}
			}
		})
	}
	t.Logf("%d cells", cells)
}

// refused expects a refusal that reveals nothing: it is the same whether the repository
// exists or not, and whatever the client claims to have already.
func (f *fixture) refused(t *testing.T, c *harness.Client, r request, who holder, resp *harness.Response) {
	t.Helper()
	if resp.Status != http.StatusUnauthorized || resp.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("%s is not refused: %s", who.name, resp)
		return
	}
	resp.ExpectError(http.StatusUnauthorized, "UNAUTHORIZED")
	resp.ExpectHeader("Docker-Distribution-API-Version", "registry/2.0")
	elsewhere := r
	elsewhere.path = strings.ReplaceAll(r.path, private, missing)
	for _, got := range []*harness.Response{
		elsewhere.send(c, who), r.send(c, who, "If-None-Match: *"), r.send(c, who, `If-None-Match: "`+f.image.Digest.String()+`"`),
	} {
		if text(got) != text(resp) {
			t.Errorf("the refusals differ:\n%s\n%s", text(resp), text(got))
		}
	}
}

// text is an answer without its time and the name of the repository.
func text(resp *harness.Response) string {
	header := resp.Header.Clone()
	header.Del("Date")
	header.Del("Content-Length") // the names differ in length
	all := fmt.Sprintf("%d %v %s", resp.Status, header, resp.Body)
	all = strings.ReplaceAll(all, "push,pull", "pull,push") // distribution's order is any
	return strings.ReplaceAll(strings.ReplaceAll(all, private, "NAME"), missing, "NAME")
}

func TestAccessByToken(t *testing.T) {
	for _, driver := range harness.Drivers() {
		t.Run(driver, func(t *testing.T) {
			issuer, stranger := harness.NewTokenIssuer(t), harness.NewTokenIssuer(t)
			all := []*harness.Access{
				harness.Repository(private, "pull", "push", "delete"), harness.Repository(other, "pull", "push", "delete"),
				{Type: "registry", Name: "catalog", Actions: []string{"*"}},
			}
			f := start(t, driver, issuer.Config, issuer.Bearer(all...))
			full := harness.Repository(private, "pull", "push", "delete")
			f.matrix(t, []holder{
				{"everything", issuer.Bearer(all...), map[need]bool{credentials: true, pull: true, pullAndPush: true, deletion: true, catalog: true}},
				{"full", issuer.Bearer(full), map[need]bool{credentials: true, pull: true, pullAndPush: true, deletion: true}},
				{"pull and push", issuer.Bearer(harness.Repository(private, "pull", "push")), map[need]bool{credentials: true, pull: true, pullAndPush: true}},
				{"pull only", issuer.Bearer(harness.Repository(private, "pull")), map[need]bool{credentials: true, pull: true}},
				{"push only", issuer.Bearer(harness.Repository(private, "push")), map[need]bool{credentials: true}},
				{"delete only", issuer.Bearer(harness.Repository(private, "delete")), map[need]bool{credentials: true, deletion: true}},
				{"another repository", issuer.Bearer(harness.Repository(other, "pull", "push", "delete")), map[need]bool{credentials: true}},
				{"a repository above", issuer.Bearer(harness.Repository("private", "pull", "push", "delete")), map[need]bool{credentials: true}},
				{"a repository below", issuer.Bearer(harness.Repository(private+"/referrers", "pull", "push", "delete")), map[need]bool{credentials: true}},
				{"another type", issuer.Bearer(&harness.Access{Type: "repository(plugin)", Name: private, Actions: []string{"pull"}}), map[need]bool{credentials: true}},
				{"nothing", issuer.Bearer(), map[need]bool{credentials: true}},
				{"no credentials", "", nil},
				{"expired", issuer.Claims(time.Now().Add(-time.Hour), harness.TokenService, full), nil},
				{"another service", issuer.Claims(time.Now().Add(time.Hour), "another service", full), nil},
				{"another issuer", stranger.Bearer(full), nil},
				{"no token", "Bearer x", nil},
				{"a password", harness.Basic("tester", "secret"), nil},
			})
		})
	}
}

func TestAccessByPassword(t *testing.T) {
	for _, driver := range harness.Drivers() {
		t.Run(driver, func(t *testing.T) {
			good := harness.Basic("tester", "secret")
			f := start(t, driver, harness.HTPasswd(t, "tester", "secret"), good)
			// A user with a password may do everything.
			f.matrix(t, []holder{
				{"right", good, map[need]bool{credentials: true, pull: true, pullAndPush: true, deletion: true, catalog: true}},
				{"no credentials", "", nil},
				{"wrong password", harness.Basic("tester", "Secret"), nil},
				{"unknown user", harness.Basic("nobody", "secret"), nil},
				{"empty", harness.Basic("", ""), nil},
				{"no scheme", "tester:secret", nil},
				{"a token", "Bearer secret", nil},
			})
		})
	}
}

// The challenge and the refusal are the same as for distribution's own routes.
func TestChallengesAreThoseOfDistribution(t *testing.T) {
	for name, config := range map[string]string{
		"token":    harness.NewTokenIssuer(t).Config,
		"htpasswd": harness.HTPasswd(t, "tester", "secret"),
		"silly":    "auth: {silly: {realm: tests, service: tests}}",
	} {
		t.Run(name, func(t *testing.T) {
			f := fixture{registry: harness.Start(t, harness.Options{Driver: harness.InMemory, Config: config})}
			f.image, f.blob = harness.BlobDescriptor([]byte("image")), harness.BlobDescriptor([]byte("blob"))
			c := f.registry.Client()
			theirs := c.Get("/v2/" + private + "/tags/list").Expect(http.StatusUnauthorized)
			for _, r := range f.requests(private) {
				if r.need != pull || r.method == "HEAD" || r.method == "OPTIONS" {
					continue
				}
				ours := c.Send(r.method, r.path, nil)
				if text(ours) != text(theirs) {
					t.Errorf("%s %s:\n%s\ndistribution:\n%s", r.method, r.path, text(ours), text(theirs))
				}
			}
		})
	}
}

// Access to one repository gives access to nothing of another.
func TestNothingIsReadAcrossRepositories(t *testing.T) {
	for _, driver := range harness.Drivers() {
		t.Run(driver, func(t *testing.T) {
			issuer := harness.NewTokenIssuer(t)
			mine := harness.Repository("mine/app", "pull", "push", "delete")
			f := start(t, driver, issuer.Config, issuer.Bearer(mine, harness.Repository(private, "pull", "push"), harness.Repository(other, "pull", "push")))
			c := f.registry.Client().With(issuer.Bearer(mine))
			for _, route := range harness.Routes() {
				if found := c.Referrers(route, "mine/app", f.image.Digest); len(found) > 0 {
					t.Errorf("%s lists what is attached elsewhere: %v", route.Name, found)
				}
			}
			c.GetManifest("mine/app", f.signature.Digest().String()).ExpectError(http.StatusNotFound, "MANIFEST_UNKNOWN")
			c.Get(harness.BlobPath("mine/app", f.blob.Digest)).ExpectError(http.StatusNotFound, "BLOB_UNKNOWN")
			// Knowing the digests of a blob and an image gives no access to them.
			c.Push("mine/app", "", f.signature).ExpectError(http.StatusBadRequest, "MANIFEST_INVALID")
			artifact := harness.OCIArtifact("a/b", f.blob).To(f.image)
			c.Push("mine/app", "", artifact).ExpectError(http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN")
			c.Send(http.MethodPost, "/v2/mine/app/blobs/uploads/?mount="+f.blob.Digest.String()+"&from="+private, nil).
				ExpectError(http.StatusUnauthorized, "UNAUTHORIZED")
			// An image may name the subject, which makes it listed in this repository alone.
			c.MustPush("mine/app", "", harness.OCIIndex().To(f.image))
			if found := f.registry.Client().With(issuer.Bearer(harness.Repository(private, "pull"))).Referrers(harness.OCI, private, f.image.Digest); len(found) != 1 {
				t.Errorf("%d are listed elsewhere: %v", len(found), found)
			}
		})
	}
}
