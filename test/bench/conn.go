package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// target is a registry, or something else that speaks HTTP.
type target struct {
	URL    string
	Header string // a further header of every request, as "Name: value"
}

// conn is a client with one connection, on which it sends one request after the
// other. It costs much less than net/http's client, which would take more of the
// processor than what is measured.
type conn struct {
	origin string // scheme and host
	header string // of every request, with line ends
	net    net.Conn
	in     *bufio.Reader
	out    bytes.Buffer
	body   bytes.Buffer
}

// dial makes a client of a target.
func (t target) dial() (*conn, error) {
	u, err := url.Parse(t.URL)
	if err != nil {
		return nil, err
	}
	c := &conn{origin: u.Scheme + "://" + u.Host, header: "Host: " + u.Host + "\r\nUser-Agent: bench\r\n"}
	if t.Header != "" {
		c.header += t.Header + "\r\n"
	}
	switch u.Scheme {
	case "http":
		c.net, err = net.Dial("tcp", withPort(u.Host, "80"))
	case "https":
		c.net, err = tls.Dial("tcp", withPort(u.Host, "443"), nil)
	default:
		err = fmt.Errorf("%q is not the URL of a registry, such as http://localhost:5000", t.URL)
	}
	if err != nil {
		return nil, err
	}
	c.in = bufio.NewReader(c.net)
	return c, nil
}

func withPort(host, port string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(host, port)
}

// clients are connections to the target.
func (t target) clients(n int) ([]*conn, error) {
	list := make([]*conn, n)
	for i := range list {
		var err error
		if list[i], err = t.dial(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// request is what a client sends. Its path may be a URL, as in a Location header.
type request struct {
	method, path string
	header       string // with line ends
	content      []byte
	status       int // that is expected
}

// do sends a request and reads the answer. The body is valid until the next one.
func (c *conn) do(r request) (header http.Header, body []byte, err error) {
	path := strings.TrimPrefix(r.path, c.origin)
	c.out.Reset()
	fmt.Fprintf(&c.out, "%s %s HTTP/1.1\r\n%s%s", r.method, path, c.header, r.header)
	if r.method != http.MethodGet && r.method != http.MethodHead {
		fmt.Fprintf(&c.out, "Content-Length: %d\r\n", len(r.content))
	}
	c.out.WriteString("\r\n")
	c.out.Write(r.content)
	if _, err := c.net.Write(c.out.Bytes()); err != nil {
		return nil, nil, err
	}
	resp, err := http.ReadResponse(c.in, &http.Request{Method: r.method})
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	c.body.Reset()
	if _, err := c.body.ReadFrom(resp.Body); err != nil {
		return nil, nil, err
	}
	switch body = c.body.Bytes(); {
	case resp.StatusCode != r.status:
		err = fmt.Errorf("%s %s: %s instead of %d: %.300s", r.method, path, resp.Status, r.status, body)
	case resp.Close:
		err = errors.New("the server closes the connection")
	}
	return resp.Header, body, err
}

// get returns a body, which is valid until the next request, and the path of the next
// page.
func (c *conn) get(path string) (body []byte, next string, err error) {
	header, body, err := c.do(request{method: http.MethodGet, path: path, status: http.StatusOK})
	if link := header.Get("Link"); link != "" {
		next, _, _ = strings.Cut(strings.TrimPrefix(link, "<"), ">")
	}
	return body, next, err
}
