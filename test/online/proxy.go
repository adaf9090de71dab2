package online

import (
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"regexp"
	"sync"
	"testing"

	"github.com/oras-distribution/registry/test/internal/harness"
)

// proxy passes connections on to a storage, until it is told to let them hang.
type proxy struct {
	listener net.Listener
	target   string
	mu       sync.Mutex
	open     chan struct{} // closed while bytes pass
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, target: target, open: make(chan struct{})}
	close(p.open)
	t.Cleanup(func() { listener.Close() })
	go p.accept()
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

// hang lets all connections hang until the function that it returns is called.
func (p *proxy) hang() (pass func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	open := make(chan struct{})
	p.open = open
	return func() { close(open) }
}

func (p *proxy) wait() {
	p.mu.Lock()
	open := p.open
	p.mu.Unlock()
	<-open
}

func (p *proxy) accept() {
	for {
		from, err := p.listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer from.Close()
			to, err := net.Dial("tcp", p.target)
			if err != nil {
				return
			}
			defer to.Close()
			go p.pass(from, to)
			p.pass(to, from)
		}()
	}
}

// pass passes bytes on in one direction, and then closes it.
func (p *proxy) pass(from, to net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.wait()
		if n > 0 {
			if _, writeErr := to.Write(buffer[:n]); writeErr != nil {
				return
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				to.Close()
			} else if tcp, ok := to.(*net.TCPConn); ok {
				_ = tcp.CloseWrite()
			}
			return
		}
	}
}

var regionEndpoint = regexp.MustCompile(`regionendpoint: '([^']+)'`)

// storageAddr is where the storage of the tests is, which is S3.
func storageAddr(t testing.TB) string {
	t.Helper()
	config, err := os.ReadFile(os.Getenv(harness.StorageVariable))
	if err != nil {
		t.Fatal(err)
	}
	match := regionEndpoint.FindSubmatch(config)
	if match == nil {
		t.Fatalf("no S3 in %s", config)
	}
	endpoint, err := url.Parse(string(match[1]))
	if err != nil {
		t.Fatal(err)
	}
	return endpoint.Host
}
