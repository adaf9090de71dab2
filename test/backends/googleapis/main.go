// Command googleapis stands in for the hosts of Google that distribution's driver for
// GCS contacts even with another storage server: it issues tokens, and it is a proxy that
// directs connections for www.googleapis.com to another server, whose URL is the second
// argument.
//
// It writes a certificate for that name (cert.pem) and credentials with a new key
// (credentials.json) into the folder that is the first argument, and prints the
// address that it listens on.
package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

func main() {
	folder := os.Args[1]
	target, err := url.Parse(os.Args[2])
	check(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	check(err)
	certificate := certify(key)
	check(os.WriteFile(filepath.Join(folder, "cert.pem"), encode("CERTIFICATE", certificate), 0o600))
	check(os.WriteFile(filepath.Join(folder, "credentials.json"), credentials(key, listener.Addr().String()), 0o600))
	_, _ = fmt.Fprintln(os.Stdout, listener.Addr())
	tunnels := make(tunnels)
	go func() {
		server := &http.Server{
			Handler:      &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }},
			TLSConfig:    &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}}},
			TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		}
		log.Fatal(server.ServeTLS(tunnels, "", ""))
	}()
	log.Fatal(http.Serve(listener, tunnels))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func encode(kind string, content []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content})
}

func certify(key *rsa.PrivateKey) []byte {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"www.googleapis.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(err)
	return certificate
}

func credentials(key *rsa.PrivateKey, addr string) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	check(err)
	text, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "tests@example.invalid",
		"private_key": string(encode("PRIVATE KEY", der)), "token_uri": "http://" + addr + "/token",
	})
	check(err)
	return text
}

// tunnels are the connections that were asked for with CONNECT. It is a listener
// for the server at their end.
type tunnels chan net.Conn

// ServeHTTP implements http.Handler.
func (t tunnels) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token": "tests", "token_type": "Bearer", "expires_in": 3600}`)
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_, err = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
	}
	if err != nil {
		log.Print(err)
		return
	}
	t <- conn
}

// Accept implements net.Listener.
func (t tunnels) Accept() (net.Conn, error) { return <-t, nil }

// Close implements net.Listener.
func (t tunnels) Close() error { return nil }

// Addr implements net.Listener.
func (t tunnels) Addr() net.Addr { return &net.TCPAddr{} }
