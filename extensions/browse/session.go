package browse

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/gob"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/distribution/reference"
)

// session is what the cookie of somebody contains who has signed in with the form.
type session struct {
	User    string
	Token   string
	Expires time.Time
}

// cookieName is the name of the cookie, and what its content is bound to.
const cookieName = "registry-ui"

// maxCookie is the size of a cookie that every browser stores, in bytes, with its name and
// attributes.
const maxCookie = 4000

// maxSession is the size of the largest session that a cookie is opened to, in bytes.
const maxSession = 64 << 10

var errCookieSize = errors.New("the token is too large for a cookie")

// vault encrypts and authenticates sessions.
type vault struct{ aead cipher.AEAD }

// newVault makes a vault with a key that all replicas have which share a secret.
func newVault(derive func(purpose string) ([]byte, error)) *vault {
	aead, err := newAEAD(derive)
	if err != nil {
		panic("deriving the key of cookies: " + err.Error()) // a mistake in the program
	}
	return &vault{aead}
}

func newAEAD(derive func(purpose string) ([]byte, error)) (cipher.AEAD, error) {
	key, err := derive("cookie")
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// sealed is a session in the form that takes the least room: a token consists of texts in
// base64, which cannot be compressed.
type sealed struct {
	User    string
	Expires int64
	Parts   [][]byte
	Token   string // if it does not consist of such parts
}

// seal is the value of a cookie.
func (v *vault) seal(s *session) (string, error) {
	packed := sealed{User: s.User, Expires: s.Expires.Unix()}
	for part := range strings.SplitSeq(s.Token, ".") {
		decoded, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil {
			packed.Parts, packed.Token = nil, s.Token
			break
		}
		packed.Parts = append(packed.Parts, decoded)
	}
	var text bytes.Buffer
	compressed, err := flate.NewWriter(&text, flate.BestCompression)
	if err != nil {
		return "", err
	}
	if err := errors.Join(gob.NewEncoder(compressed).Encode(packed), compressed.Close()); err != nil {
		return "", err
	}
	value := v.encrypt(text.Bytes(), cookieName)
	if len(value) > maxCookie-len(cookieName) {
		return "", errCookieSize
	}
	return value, nil
}

// open is the session in the value of a cookie, nil if it is not one of ours or is over.
func (v *vault) open(value string, now time.Time) *session {
	text, err := v.decrypt(value, cookieName)
	if err != nil {
		return nil
	}
	var packed sealed
	plain := http.MaxBytesReader(nil, flate.NewReader(bytes.NewReader(text)), maxSession)
	if gob.NewDecoder(plain).Decode(&packed) != nil {
		return nil
	}
	s := &session{User: packed.User, Token: packed.Token, Expires: time.Unix(packed.Expires, 0)}
	if !now.Before(s.Expires) {
		return nil
	}
	if s.Token == "" {
		parts := make([]string, len(packed.Parts))
		for i, part := range packed.Parts {
			parts[i] = base64.RawURLEncoding.EncodeToString(part)
		}
		s.Token = strings.Join(parts, ".")
	}
	return s
}

// cursorPurpose is what a cursor is bound to.
const cursorPurpose = "registry-ui list"

// cursor is the name of a repository in a form that tells nobody which it is. Without a
// vault, everybody may see all of them, and it is the name.
func (v *vault) cursor(name string) string {
	if v == nil {
		return name
	}
	padded := make([]byte, reference.RepositoryNameTotalLengthMax) // all are of the same length
	copy(padded, name)
	return v.encrypt(padded, cursorPurpose)
}

// name is the name in a cursor, empty if it is not one of ours.
func (v *vault) name(cursor string) string {
	if v == nil {
		return cursor
	}
	text, err := v.decrypt(cursor, cursorPurpose)
	if err != nil {
		return ""
	}
	return string(bytes.TrimRight(text, "\x00"))
}

// encrypt is a content that only decrypt can read, bound to a purpose.
func (v *vault) encrypt(content []byte, purpose string) string {
	return base64.RawURLEncoding.EncodeToString(v.aead.Seal(nil, nil, content, []byte(purpose)))
}

func (v *vault) decrypt(text, purpose string) ([]byte, error) {
	content, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, err
	}
	return v.aead.Open(nil, nil, content, []byte(purpose))
}

type sessionKey struct{}

// sessionOf is the session that a request has by its cookie, or nil.
func sessionOf(ctx context.Context) *session {
	s, _ := ctx.Value(sessionKey{}).(*session)
	return s
}

// withSession is the request with the credentials in its cookie, if it has any there and
// no others. A cookie that is not right counts as none.
func (s *site) withSession(r *http.Request) *http.Request {
	cookie, err := r.Cookie(cookieName)
	if err != nil || s.Token == nil || r.Header.Get("Authorization") != "" {
		return r
	}
	found := s.vault.open(cookie.Value, time.Now())
	if found == nil {
		return r
	}
	r = r.Clone(context.WithValue(r.Context(), sessionKey{}, found))
	r.Header.Set("Authorization", "Bearer "+found.Token)
	return r
}

// setCookie gives the browser a session, or takes it away if the value is empty.
func (s *site) setCookie(w http.ResponseWriter, r *http.Request, value string, expires time.Time) {
	cookie := &http.Cookie{
		Name: cookieName, Value: value, Path: s.path(""), Expires: expires, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https"),
	}
	if value == "" {
		cookie.MaxAge = -1
	}
	http.SetCookie(w, cookie)
}
