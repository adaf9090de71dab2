package mirror

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/semaphore"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// upstream is another registry.
type upstream struct {
	name               string // here
	host, path         string // there: host and port, and what stands before the names of its repositories
	plain              bool
	username, password string
	tls                *tls.Config
	ttl, maxStale      time.Duration
	bounds

	client  *http.Client
	meter   *meter
	clients *otter.Cache[string, *auth.Client] // by the names of repositories there
	listed  atomic.Bool                        // it has answered who refers to a subject

	downloading *semaphore.Weighted
}

// bounds are how long an origin is waited for.
type bounds struct {
	connecting time.Duration // for a connection
	beginning  time.Duration // for an answer to begin
	answering  time.Duration // for an answer that is not the bytes of a blob
	listing    time.Duration // for a list of referrers, and all that it names
	stalling   time.Duration // for further bytes of a blob
	patience   time.Duration // for an answer that an older one can stand for
	pause      time.Duration // before one that has failed is asked again
}

func boundsOf(timeout time.Duration) bounds {
	return bounds{
		connecting: timeout / 3, beginning: timeout, answering: 2 * timeout, listing: 10 * timeout,
		stalling: timeout, patience: timeout / 6, pause: timeout / 3,
	}
}

// Bounds of what is asked of an origin.
const (
	// connections is how many an origin has at most.
	connections = 64
	// maxDownloads is how many blobs an origin is asked for at once.
	maxDownloads = connections / 2
	// maxClients is of how many repositories tokens are kept.
	maxClients = 1000
	// maxManifest is the largest manifest that distribution stores, in bytes.
	maxManifest = 4 << 20
	// maxPages and maxReferrers bound what an origin lists for one subject.
	maxPages     = 1000
	maxReferrers = 10_000
)

// connect makes what requests to the origin need.
func (u *upstream) connect(m *metrics) {
	u.meter = m.of(u.name)
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: u.connecting}).DialContext,
		TLSClientConfig:       u.tls,
		TLSHandshakeTimeout:   u.connecting,
		ResponseHeaderTimeout: u.beginning,
		IdleConnTimeout:       90 * time.Second,
		MaxConnsPerHost:       connections,
		MaxIdleConnsPerHost:   connections / 4,
		ForceAttemptHTTP2:     true,
		DisableCompression:    true, // digests are of the bytes as they are sent
	}
	u.client = &http.Client{Transport: &meteredTransport{transport, u.meter}}
	u.downloading = semaphore.NewWeighted(maxDownloads)
	u.clients = otter.Must(&otter.Options[string, *auth.Client]{MaximumSize: maxClients})
}

// origin is one repository of an upstream.
type origin struct {
	*upstream
	repository string // its name here
	remote     string // its name there
}

// origin is that of the repository with a name here, and a name below the upstream's.
func (u *upstream) origin(repository, below string) *origin {
	return &origin{u, repository, strings.TrimPrefix(u.path+"/"+below, "/")}
}

// String is for errors.
func (o *origin) String() string { return o.name + " (" + o.host + "/" + o.remote + ")" }

// open is what asks the origin. What a client of oras-go finds out about the API of an origin,
// it never asks again; so only the tokens are kept.
func (o *origin) open() *remote.Repository {
	client, _ := o.clients.ComputeIfAbsent(o.remote, func() (*auth.Client, bool) {
		return &auth.Client{
			Client:     o.client,
			Header:     http.Header{"User-Agent": {"oras-distribution-registry"}},
			Cache:      auth.NewCache(),
			Credential: auth.StaticCredential(o.host, auth.Credential{Username: o.username, Password: o.password}),
		}, false
	})
	return &remote.Repository{
		Client:               strictClient{client},
		Reference:            registry.Reference{Registry: o.host, Repository: o.remote},
		PlainHTTP:            o.plain,
		ManifestMediaTypes:   mediaTypes(),
		ReferrerListMaxPages: maxPages,
	}
}

// resolve asks which manifest a tag names. It is the known one if the origin says that it
// has not changed.
func (o *origin) resolve(ctx context.Context, tag string, known digest.Digest) (digest.Digest, error) {
	ctx, cancel := context.WithTimeout(ctx, o.answering)
	defer cancel()
	if known != "" {
		ctx = ifNoneMatch(ctx, `"`+known.String()+`"`)
	}
	desc, err := o.open().Resolve(ctx, tag)
	if isNotModified(err) {
		return known, nil
	}
	return desc.Digest, err
}

// manifest gets a manifest, and checks its digest.
func (o *origin) manifest(ctx context.Context, d digest.Digest) (mediaType string, content []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, o.answering)
	defer cancel()
	desc, body, err := o.open().Manifests().FetchReference(ctx, d.String())
	if err != nil {
		return "", nil, err
	}
	defer body.Close()
	content, err = io.ReadAll(io.LimitReader(body, maxManifest+1))
	switch {
	case err != nil:
		return "", nil, err
	case len(content) > maxManifest:
		return "", nil, fmt.Errorf("manifest %s has more than %d bytes", d, maxManifest)
	case d.Algorithm().FromBytes(content) != d:
		return "", nil, fmt.Errorf("the bytes of manifest %s do not have its digest", d)
	}
	return desc.MediaType, content, nil
}

// blob asks for the size of a blob.
func (o *origin) blob(ctx context.Context, d digest.Digest) (v1.Descriptor, error) {
	ctx, cancel := context.WithTimeout(ctx, o.answering)
	defer cancel()
	return o.open().Blobs().Resolve(ctx, d.String())
}

// body is the bytes of a blob, from some offset on.
type body struct {
	io.Reader
	from int64
	end  context.CancelFunc // may be called while others read
}

// fetch begins to get a blob, if possible from an offset on.
func (o *origin) fetch(ctx context.Context, d digest.Digest, from int64) (v1.Descriptor, *body, error) {
	ctx, cancel := context.WithCancel(ctx)
	slow := time.AfterFunc(o.answering, cancel)
	desc, content, err := o.open().Blobs().FetchReference(ctx, d.String())
	if seeker, ok := content.(io.Seeker); err == nil && ok {
		_, err = seeker.Seek(from, io.SeekStart)
	} else {
		from = 0
	}
	if !slow.Stop() {
		err = errSlow
	}
	if err != nil {
		cancel()
		return desc, nil, err
	}
	return desc, &body{content, from, cancel}, nil
}

// tags asks for the tags behind one, at most so many if limit is positive. The error is io.EOF
// if there are no more.
func (o *origin) tags(ctx context.Context, limit int, last string) (page []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, o.answering)
	defer cancel()
	more := errors.New("there are more")
	err = o.open().Tags(ctx, last, func(tags []string) error {
		page = append(page, tags...)
		switch {
		case limit > 0 && len(page) > limit:
			page = page[:limit]
			return more
		case len(page) > maxTags:
			return fmt.Errorf("it has more than %d tags", maxTags)
		}
		return nil
	})
	switch {
	case err == nil:
		err = io.EOF
	case errors.Is(err, more):
		err = nil
	}
	return page, err
}

// maxTags is how many tags are listed at once.
const maxTags = 100_000

// referrers asks who refers to a subject: all of it or an error.
func (o *origin) referrers(ctx context.Context, subject digest.Digest, known listed) (list []digest.Digest, said *pages, err error) {
	ctx, cancel := context.WithTimeout(ctx, o.answering)
	defer cancel()
	ctx, said = countPages(ctx, known.ETag)
	client := o.open()
	if o.listed.Load() {
		_ = client.SetReferrersCapability(true)
	}
	err = client.Referrers(ctx, v1.Descriptor{Digest: subject}, "", func(page []v1.Descriptor) error {
		for _, desc := range page {
			if err := desc.Digest.Validate(); err != nil {
				return fmt.Errorf("the list of referrers names %q: %w", desc.Digest, err)
			}
			list = append(list, desc.Digest)
		}
		if len(list) > maxReferrers {
			return fmt.Errorf("more than %d manifests refer to %s", maxReferrers, subject)
		}
		return nil
	})
	switch {
	case isNotModified(err):
		return known.Listed, said, nil
	case errors.Is(err, errdef.ErrUnsupported) && said.count == 1: // it has this API, and says that it has nothing
		return nil, said, nil
	case err != nil:
		return nil, nil, err
	}
	if said.answered {
		o.listed.Store(true)
	}
	return list, said, nil
}
