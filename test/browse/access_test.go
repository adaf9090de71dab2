package browse

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oras-distribution/registry/internal/layout"
	"github.com/oras-distribution/registry/test/internal/harness"
)

// With passwords, browsers ask for them by themselves.
func TestPasswords(t *testing.T) {
	r := start(t, harness.HTPasswd(t, "tester", "secret"))
	c := r.Client()
	signedIn := c.With(harness.Basic("tester", "secret"))
	newDemo(signedIn, "app")
	for _, path := range []string{"/ui/", "/ui/tags/app", "/ui/tags/none", "/ui/image/app/1.4.0", "/ui/manifest/app/1.4.0", "/ui/raw/app/1.4.0", "/ui/file/app/1.4.0"} {
		for _, who := range []*harness.Client{c, c.With(harness.Basic("tester", "wrong")), c.With("Bearer x")} {
			answer := who.Get(path).Expect(http.StatusUnauthorized).ExpectHeader("WWW-Authenticate", `Basic realm="tests"`)
			answer.ExpectHeader("Content-Type", "text/html; charset=utf-8")
			if !strings.Contains(string(answer.Body), "<h1>You are not signed in</h1>") {
				t.Errorf("%s: %s", path, answer)
			}
		}
	}
	expectPage(t, signedIn, "/ui/", ">app<")
	expectPage(t, signedIn, "/ui/image/app/1.4.0", "1 signature attached")
	c.Get("/ui/style.css").Expect(http.StatusOK)
	c.Get("/ui/sign-in").Expect(http.StatusNotFound)
}

// realm is a server that issues tokens, to the one user whom it knows.
type realm struct {
	*httptest.Server
	issuer *harness.TokenIssuer
	config string
	may    []string // the repositories that the user may pull from

	mu     sync.Mutex
	asked  []url.Values
	answer func(w http.ResponseWriter, r *http.Request) bool // instead of a token
}

func newRealm(t *testing.T, may ...string) *realm {
	t.Helper()
	s := &realm{issuer: harness.NewTokenIssuer(t), may: may}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	s.config = strings.Replace(s.issuer.Config, harness.TokenRealm, s.URL+"/token?kept=yes", 1)
	return s
}

// ServeHTTP implements http.Handler.
func (s *realm) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.URL.Query())
	if s.answer != nil && s.answer(w, r) {
		return
	}
	user, password, given := r.BasicAuth()
	if given && (user != "tester" || password != "secret") {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var access []*harness.Access
	for _, scope := range r.URL.Query()["scope"] {
		name := strings.TrimSuffix(strings.TrimPrefix(scope, "repository:"), ":pull")
		if may := given && slices.Contains(s.may, name) || name == "public/app"; may {
			access = append(access, harness.Repository(name, "pull"))
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"token": strings.TrimPrefix(s.issuer.Bearer(access...), "Bearer "), "expires_in": 3600})
}

// everything is what fills the registries of these tests.
func (s *realm) everything(names ...string) string {
	var access []*harness.Access
	for _, name := range names {
		access = append(access, harness.Repository(name, "pull", "push"))
	}
	return s.issuer.Bearer(access...)
}

// signIn sends the form, and returns the answer.
func signIn(c *harness.Client, to, user, password string, headers ...string) *harness.Response {
	form := url.Values{"to": {to}, "user": {user}, "password": {password}}
	headers = append([]string{"Content-Type: application/x-www-form-urlencoded", "Origin: " + c.URL}, headers...)
	return c.Send(http.MethodPost, "/ui/sign-in", []byte(form.Encode()), headers...)
}

// cookieOf is the cookie that an answer sets, as a header of a request.
func cookieOf(t *testing.T, answer *harness.Response) string {
	t.Helper()
	cookies := (&http.Response{Header: answer.Header}).Cookies()
	if len(cookies) != 1 {
		t.Fatalf("there are %d cookies: %s", len(cookies), answer)
	}
	return "Cookie: " + cookies[0].Name + "=" + cookies[0].Value
}

func TestTokens(t *testing.T) {
	s := newRealm(t, "mine/app", "mine/web")
	c := start(t, s.config).Client()
	names := []string{"mine/app", "mine/web", "other/app", "public/app"}
	for _, name := range names {
		newDemo(c.With(s.everything(names...)), name)
	}
	// Without a token there is a form, whether the repository exists or not.
	for _, path := range []string{"/ui/", "/ui/tags/other/app", "/ui/tags/none", "/ui/image/other/app/1.4.0", "/ui/file/other/app/1.4.0"} {
		answer := c.Get(path).Expect(http.StatusUnauthorized)
		if body := string(answer.Body); !strings.Contains(body, "<h1>Sign in</h1>") || !strings.Contains(body, `name="to" value="`+path+`"`) {
			t.Errorf("%s: %s", path, answer)
		}
		checkHarmless(t, path, string(answer.Body))
	}
	if missing, existing := c.Get("/ui/tags/none/app").Body, c.Get("/ui/tags/other/app").Body; strings.ReplaceAll(string(missing), "none/app", "other/app") != string(existing) {
		t.Error("the form tells whether a repository exists")
	}
	answer := signIn(c, "/ui/tags/mine/app?sort=time", "tester", "secret").Expect(http.StatusSeeOther).ExpectHeader("Location", "/ui/tags/mine/app?sort=time")
	set := answer.Header.Get("Set-Cookie")
	for _, attribute := range []string{"Path=/ui/;", "HttpOnly", "SameSite=Strict", "Expires="} {
		if !strings.Contains(set, attribute) {
			t.Errorf("the cookie %s is not %s", set, attribute)
		}
	}
	if strings.Contains(set, "Secure") {
		t.Errorf("the cookie %s would not be sent without TLS", set)
	}
	for _, asked := range s.asked {
		if asked.Get("service") != harness.TokenService || asked.Get("kept") != "yes" || asked["scope"][0] != "repository:mine/app:pull" {
			t.Errorf("the realm was asked %v", asked)
		}
	}
	cookie := cookieOf(t, answer)
	get := func(path string) *harness.Response { return c.Get(path, cookie) }
	list := string(get("/ui/").Expect(http.StatusOK).Body)
	for name, shown := range map[string]bool{"mine/app": true, "mine/web": true, "public/app": true, "other/app": false} {
		if strings.Contains(list, name) != shown {
			t.Errorf("is %s in the list? %v", name, !shown)
		}
		status := http.StatusUnauthorized
		if shown {
			status = http.StatusOK
		}
		get("/ui/tags/" + name).Expect(status)
		get("/ui/image/" + name + "/1.4.0").Expect(status)
		get("/ui/manifest/" + name + "/1.4.0").Expect(status)
		get("/ui/raw/" + name + "/1.4.0").Expect(status)
	}
	if !strings.Contains(list, "Signed in as <bdi>tester</bdi>") {
		t.Error("the page does not say who is signed in")
	}
	// The cookie is for the pages and for nothing else.
	c.Get("/v2/mine/app/tags/list", cookie).Expect(http.StatusUnauthorized)
	if strings.Contains(cookie, "eyJ") {
		t.Errorf("the cookie %s can be read", cookie)
	}
	out := c.Send(http.MethodPost, "/ui/sign-out", nil, cookie, "Origin: "+c.URL).Expect(http.StatusSeeOther)
	if set := out.Header.Get("Set-Cookie"); !strings.Contains(set, "Max-Age=0") || !strings.Contains(set, "Path=/ui/") {
		t.Errorf("signing out sets %s", set)
	}
}

// What is not right about a form or a cookie leads to the form again, and nowhere else.
func TestBadForms(t *testing.T) {
	s := newRealm(t, "app")
	c := start(t, s.config).Client()
	c.With(s.everything("app")).PushImage("app", "v1", "image")
	refused := signIn(c, "/ui/tags/app", "tester", "wrong").Expect(http.StatusUnauthorized)
	if body := string(refused.Body); !strings.Contains(body, "is not right") || strings.Contains(body, "wrong") || refused.Header.Get("Set-Cookie") != "" {
		t.Errorf("a wrong password: %s", refused)
	}
	if len(s.asked) != 1 {
		t.Errorf("the realm was asked %d times about one wrong password", len(s.asked))
	}
	for _, to := range []string{"https://evil.example/", "//evil.example/ui/", "/\\evil.example", "/v2/", "/ui/sign-out", "/ui/sign-in?to=/ui/", "ui", "", "javascript:alert(1)", "/ui/../v2/"} {
		location := signIn(c, to, "tester", "secret").Expect(http.StatusSeeOther).Header.Get("Location")
		if location != "/ui/" {
			t.Errorf("the form leads to %s for %q", location, to)
		}
	}
	before := len(s.asked)
	for _, headers := range [][]string{{"Origin: https://evil.example"}, {"Sec-Fetch-Site: cross-site"}, {"Sec-Fetch-Site: same-site"}, {"Origin: null"}} {
		foreign := c.Send(http.MethodPost, "/ui/sign-in", []byte("user=tester&password=secret"), append([]string{"Content-Type: application/x-www-form-urlencoded"}, headers...)...)
		if foreign.Expect(http.StatusForbidden); foreign.Header.Get("Set-Cookie") != "" {
			t.Errorf("a form from %v: %s", headers, foreign)
		}
		c.Send(http.MethodPost, "/ui/sign-out", nil, headers...).Expect(http.StatusForbidden)
	}
	c.Send(http.MethodPost, "/ui/sign-in", []byte("to="+strings.Repeat("x", 20_000)), "Content-Type: application/x-www-form-urlencoded").Expect(http.StatusForbidden)
	if len(s.asked) != before {
		t.Error("the realm was asked because of a form from elsewhere")
	}
	cookie := cookieOf(t, signIn(c, "/ui/", "tester", "secret"))
	c.Get("/ui/tags/app", cookie).Expect(http.StatusOK)
	for _, bad := range []string{cookie + "A", cookie[:len(cookie)-2], "Cookie: registry-ui=", "Cookie: registry-ui=AAAA", "Cookie: registry-ui=%00", strings.Replace(cookie, "=", "=A", 1), "Cookie: registry-ui=" + strings.Repeat("A", 6000)} {
		c.Get("/ui/tags/app", bad).Expect(http.StatusUnauthorized)
	}
	c.Get("/ui/tags/app", cookie, "Authorization: "+s.issuer.Bearer()).Expect(http.StatusUnauthorized) // the header counts
}

// Replicas with the same secret open each other's cookies; others ignore them.
func TestCookiesAreBoundToTheSecret(t *testing.T) {
	s := newRealm(t, "app")
	root := t.TempDir()
	replica := func(secret string) *harness.Client {
		return harness.Start(t, harness.Options{Root: root, Config: enabled + s.config + fmt.Sprintf("\nhttp: {secret: %s}", secret)}).Client()
	}
	one, two, other := replica("shared"), replica("shared"), replica("another")
	one.With(s.everything("app")).PushImage("app", "v1", "image")
	cookie := cookieOf(t, signIn(one, "/ui/tags/app", "tester", "secret"))
	one.Get("/ui/tags/app", cookie).Expect(http.StatusOK)
	two.Get("/ui/tags/app", cookie).Expect(http.StatusOK)
	other.Get("/ui/tags/app", cookie).Expect(http.StatusUnauthorized)
}

// Whatever the realm answers, the registry talks to it alone.
func TestBadRealms(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("another server than the realm was asked")
	}))
	t.Cleanup(elsewhere.Close)
	s := newRealm(t, "app")
	c := start(t, s.config).Client()
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"redirection": func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
			return true
		},
		"failure": func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		},
		"no JSON":  func(w http.ResponseWriter, _ *http.Request) bool { _, _ = w.Write([]byte("<html>")); return true },
		"no token": func(w http.ResponseWriter, _ *http.Request) bool { _, _ = w.Write([]byte("{}")); return true },
		"large token": func(w http.ResponseWriter, _ *http.Request) bool {
			text := make([]byte, 0, 20_000)
			for i := range 4000 {
				text = fmt.Appendf(text, "%d-", i*7919)
			}
			_ = json.NewEncoder(w).Encode(map[string]string{"token": string(text)})
			return true
		},
	} {
		s.answer = answer
		refused := signIn(c, "/ui/", "tester", "secret", "Host: "+elsewhere.Listener.Addr().String()).Expect(http.StatusBadGateway)
		if refused.Header.Get("Set-Cookie") != "" || !strings.Contains(string(refused.Body), `role="alert"`) {
			t.Errorf("%s: %s", name, refused)
		}
	}
	s.Close()
	signIn(c, "/ui/", "tester", "secret").Expect(http.StatusBadGateway)
}

// A token that is over, or of somebody else, is worth nothing.
func TestTokensEnd(t *testing.T) {
	s := newRealm(t, "app")
	c := start(t, s.config).Client()
	c.With(s.everything("app")).PushImage("app", "v1", "image")
	stranger := harness.NewTokenIssuer(t)
	for name, token := range map[string]string{
		"over":        s.issuer.Claims(time.Now().Add(-time.Hour), harness.TokenService, harness.Repository("app", "pull")),
		"of another":  stranger.Bearer(harness.Repository("app", "pull")),
		"not a token": "Bearer abc",
	} {
		s.answer = func(w http.ResponseWriter, _ *http.Request) bool {
			_ = json.NewEncoder(w).Encode(map[string]any{"access_token": strings.TrimPrefix(token, "Bearer "), "expires_in": 300})
			return true
		}
		cookie := cookieOf(t, signIn(c, "/ui/tags/app", "tester", "secret").Expect(http.StatusSeeOther))
		if answer := c.Get("/ui/tags/app", cookie).Expect(http.StatusUnauthorized); !strings.Contains(string(answer.Body), "<h1>Sign in</h1>") {
			t.Errorf("%s: %s", name, answer)
		}
	}
}

// Behind a proxy with TLS, the cookie is sent over TLS alone.
func TestSecureCookies(t *testing.T) {
	s := newRealm(t, "app")
	c := start(t, s.config).Client()
	set := signIn(c, "/ui/", "tester", "secret", "X-Forwarded-Proto: https").Expect(http.StatusSeeOther).Header.Get("Set-Cookie")
	if !strings.Contains(set, "; Secure") {
		t.Errorf("the cookie is %s", set)
	}
}

// Everybody may see what the realm issues tokens for without a password.
func TestWithoutSigningIn(t *testing.T) {
	s := newRealm(t, "mine/app")
	c := start(t, s.config).Client()
	for _, name := range []string{"mine/app", "public/app"} {
		c.With(s.everything("mine/app", "public/app")).PushImage(name, "v1", "image")
	}
	answer := c.Send(http.MethodPost, "/ui/sign-in", []byte("to=/ui/&user=tester&password=secret&anonymous=yes"), "Content-Type: application/x-www-form-urlencoded", "Origin: "+c.URL)
	cookie := cookieOf(t, answer.Expect(http.StatusSeeOther))
	list := string(c.Get("/ui/", cookie).Expect(http.StatusOK).Body)
	if !strings.Contains(list, "public/app") || strings.Contains(list, "mine/app") || !strings.Contains(list, "you see what everybody may") {
		t.Errorf("the list is %s", list)
	}
}

// However many repositories there are that a client may not pull from, it learns no name of
// them, neither from the pages nor from their links, and may not choose where a page begins.
func TestPositionsTellNoNames(t *testing.T) {
	s := newRealm(t)
	r := harness.Start(t, harness.Options{Config: enabled + s.config})
	c := r.Client()
	c.With(s.everything("public/app")).PushImage("public/app", "v1", "image")
	public := os.DirFS(filepath.Join(r.Root, layout.Repository("public/app")))
	for i := range 450 {
		if err := os.CopyFS(filepath.Join(r.Root, layout.Repository(fmt.Sprintf("hidden/s%03d", i))), public); err != nil {
			t.Fatal(err)
		}
	}
	answer := c.Send(http.MethodPost, "/ui/sign-in", []byte("to=/ui/tags/public/app&anonymous=yes"), "Content-Type: application/x-www-form-urlencoded", "Origin: "+c.URL)
	cookie := cookieOf(t, answer.Expect(http.StatusSeeOther))
	path, pages := "/ui/", 0
	for ; path != ""; pages++ {
		body := string(c.Get(path, cookie).Expect(http.StatusOK).Body)
		if strings.Contains(body+path, "hidden") {
			t.Fatalf("%s: %s", path, body)
		}
		found := strings.Contains(body, "public/app")
		if path = ""; !found {
			for _, target := range targets(body) {
				if strings.Contains(target, "after=") && !strings.Contains(target, "sign-in") {
					path = target
				}
			}
		}
		if path == "" && !found {
			t.Error("the list ends before its last repository")
		}
	}
	if pages != 3 {
		t.Errorf("it is found on page %d", pages)
	}
	c.Get("/ui/?after=hidden/s100", cookie).Expect(http.StatusBadRequest)
	c.Get("/ui/?after="+base64.RawURLEncoding.EncodeToString([]byte("hidden/s100")), cookie).Expect(http.StatusBadRequest)
}
