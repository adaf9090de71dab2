package harness

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/registry/auth/token"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"golang.org/x/crypto/bcrypt"
)

// Basic is the Authorization header of a user with a password.
func Basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// HTPasswd writes a password file with one user and returns the configuration for it.
func HTPasswd(t testing.TB, user, password string) (config string) {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "htpasswd")
	write(t, path, []byte(user+":"+string(hash)+"\n"))
	return Configf("auth: {htpasswd: {realm: tests, path: %s}}", path)
}

// Certificate is a self-signed certificate for 127.0.0.1.
type Certificate struct {
	// PEM is the certificate, CertFile and KeyFile are where it and its key are.
	PEM               []byte
	CertFile, KeyFile string

	key *ecdsa.PrivateKey
}

// NewCertificate makes a certificate and its key.
func NewCertificate(t testing.TB) Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tests"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	c := Certificate{
		PEM:      pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		CertFile: filepath.Join(folder, "cert.pem"), KeyFile: filepath.Join(folder, "key.pem"), key: key,
	}
	write(t, c.CertFile, c.PEM)
	write(t, c.KeyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	return c
}

// TokenIssuer signs the tokens of distribution's token authentication.
type TokenIssuer struct {
	// Config makes the registry trust the issuer.
	Config string

	t           testing.TB
	certificate Certificate
}

// The values of the token configuration, which the challenges repeat.
const (
	TokenRealm   = "http://127.0.0.1/token"
	TokenIssuing = "tests issuer"
	TokenService = "tests service"
)

// NewTokenIssuer makes an issuer with a new key.
func NewTokenIssuer(t testing.TB) *TokenIssuer {
	t.Helper()
	certificate := NewCertificate(t)
	return &TokenIssuer{t: t, certificate: certificate, Config: Configf(
		"auth: {token: {realm: %q, issuer: %q, service: %q, rootcertbundle: %s}}",
		TokenRealm, TokenIssuing, TokenService, certificate.CertFile)}
}

// Access is what a token allows on one resource.
type Access = token.ResourceActions

// Repository is access to one repository.
func Repository(name string, actions ...string) *Access {
	return &Access{Type: "repository", Name: name, Actions: actions}
}

// Bearer is the Authorization header with a token that allows the given access.
func (i *TokenIssuer) Bearer(access ...*Access) string {
	return i.Claims(time.Now().Add(time.Hour), TokenService, access...)
}

// Claims is Bearer with an expiry time and an audience.
func (i *TokenIssuer) Claims(until time.Time, audience string, access ...*Access) string {
	i.t.Helper()
	options := (&jose.SignerOptions{}).WithHeader("kid", token.GetJWKThumbprint(i.certificate.key.Public()))
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: i.certificate.key}, options)
	if err != nil {
		i.t.Fatal(err)
	}
	claims := token.ClaimSet{
		Issuer: TokenIssuing, Subject: "tester", Audience: []string{audience}, JWTID: "tests",
		Expiration: until.Unix(), NotBefore: until.Add(-2 * time.Hour).Unix(), IssuedAt: until.Add(-2 * time.Hour).Unix(),
		Access: access,
	}
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		i.t.Fatal(err)
	}
	return "Bearer " + text
}

func write(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
