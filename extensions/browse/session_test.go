package browse

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"
)

func vaultOf(secret string) *vault {
	return newVault(func(string) ([]byte, error) { return []byte(strings.Repeat(secret, 32)[:32]), nil })
}

// A session comes out of its cookie as it went in, until it ends, and out of nothing else.
func TestVault(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	for _, token := range []string{
		"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl", "opaque", "a.b", "", "..", "YQ==.YQ==.YQ==", "YR.YQ.YQ", strings.Repeat("x", 3000),
	} {
		given := &session{User: "tester", Token: token, Expires: now.Add(time.Minute)}
		v := vaultOf("a")
		value, err := v.seal(given)
		if err != nil {
			t.Fatalf("%q: %v", token, err)
		}
		if opened := v.open(value, now); opened == nil || opened.User != "tester" || opened.Token != token || !opened.Expires.Equal(given.Expires) {
			t.Errorf("%q comes out as %+v", token, opened)
		}
		if v.open(value, now.Add(time.Minute)) != nil {
			t.Errorf("%q has no end", token)
		}
		if vaultOf("b").open(value, now) != nil {
			t.Errorf("%q is opened with another key", token)
		}
		sealed, err := base64.RawURLEncoding.DecodeString(value)
		if err != nil {
			t.Fatal(err)
		}
		for i := range sealed {
			sealed[i] ^= 1
			if v.open(base64.RawURLEncoding.EncodeToString(sealed), now) != nil {
				t.Fatalf("byte %d of %q can be changed", i, token)
			}
			sealed[i] ^= 1
		}
		if again, err := v.seal(given); err != nil || again == value {
			t.Errorf("the cookie of %q is the same twice (%v)", token, err)
		}
	}
}

// A token for many repositories fits into a cookie, because it is compressed.
func TestVaultOfManyRepositories(t *testing.T) {
	t.Parallel()
	var access []string
	for i := range 60 {
		access = append(access, fmt.Sprintf(`{"type":"repository","name":"team-%d/service-%d","actions":["pull"]}`, i%7, i))
	}
	encode := base64.RawURLEncoding.EncodeToString
	token := encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(`{"access":[`+strings.Join(access, ",")+`]}`)) + "." + encode(make([]byte, 256))
	value, err := vaultOf("a").seal(&session{Token: token})
	if err != nil || len(value) > 2000 || len(token) < 5000 {
		t.Errorf("a token of %d bytes becomes a cookie of %d (%v)", len(token), len(value), err)
	}
	random := make([]byte, 8000)
	for i := range random {
		random[i] = byte(i * i * 7919 >> 3)
	}
	if _, err := vaultOf("a").seal(&session{Token: fmt.Sprintf("%x", random)}); err != nil && !errors.Is(err, errCookieSize) {
		t.Error(err)
	}
}

func FuzzOpen(f *testing.F) {
	v := vaultOf("a")
	value, err := v.seal(&session{User: "tester", Token: "a.b.c", Expires: time.Unix(1_900_000_000, 0)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(value)
	f.Fuzz(func(t *testing.T, text string) {
		if opened := v.open(text, time.Unix(1_800_000_000, 0)); opened != nil && opened.Token != "a.b.c" { // each process seals its own
			t.Errorf("%q is opened to %+v", text, opened)
		}
	})
}

// Whatever stands in a manifest and a configuration, they can be shown.
func FuzzDocument(f *testing.F) {
	f.Add([]byte(`{"mediaType":"a/b","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:0","size":-1},"layers":[{"size":9223372036854775807},{}],"annotations":{"a":"b"}}`))
	f.Add([]byte(`{"manifests":[{"platform":{"os":"linux","architecture":"../.."}}],"history":[{"created":"x"}],"config":{"Env":["A"]}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		m := parseDocument("", content)
		_ = m.total(map[digest.Digest]bool{})
		_, _, _ = m.kind(), m.created(), m.isImage()
		for _, d := range m.Manifests {
			if name := newPlatformRow(d).Platform; len(name) > 1000 {
				t.Errorf("the platform has %d bytes", len(name))
			}
		}
		f := new(facts)
		f.list(m)
		if c, err := parseConfiguration(content); err == nil {
			v := &view{text: maxTexts}
			part := v.configPart(c)
			for _, p := range append(part.Env, part.Labels...) {
				if !utf8.ValidString(p.Name) || !utf8.ValidString(p.Value) || len(p.Value) > maxValue+50 {
					t.Errorf("%q is shown", p)
				}
			}
		}
	})
}

func TestClip(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"short": "short", "äöü": "äöü", "äöüä": "äöü… (2 bytes more)", "a\xffb": "a\uFFFDb", "1234567": "123456… (1 bytes more)", "12345äx": "12345… (3 bytes more)",
		"\x80\x80\x80\x80\x80\x80\x80\x80": "… (8 bytes more)",
	} {
		if got := clip(text, 6); got != want {
			t.Errorf("%q is shown as %q, not %q", text, got, want)
		}
	}
}

// The walk through the names begins just before those with a prefix.
func TestBefore(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"a", "app", "team/", "team/app", "team/app-", "x0", "0"} {
		start := before(prefix)
		if start >= prefix+"0" {
			t.Errorf("%q is not before %q", start, prefix)
		}
		if !couldBegin(prefix) {
			t.Errorf("no name begins with %q", prefix)
		}
	}
}
