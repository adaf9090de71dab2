package mirror

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
)

// keys is the extension's section.
type keys struct {
	Default   string                  `yaml:"default"`
	Local     []string                `yaml:"local"`
	Upstreams map[string]upstreamKeys `yaml:"upstreams"`
}

// upstreamKeys is the section of one upstream.
type upstreamKeys struct {
	URL          string         `yaml:"url"`
	NS           string         `yaml:"ns"`
	Username     string         `yaml:"username"`
	Password     string         `yaml:"password"`
	PasswordFile string         `yaml:"passwordfile"`
	TTL          *time.Duration `yaml:"ttl"`
	MaxStale     *time.Duration `yaml:"maxstale"`
	Timeout      *time.Duration `yaml:"timeout"`
	TLS          tlsKeys        `yaml:"tls"`
}

type tlsKeys struct {
	CA string `yaml:"ca"`
}

// How long what an origin has said counts, unless the configuration says otherwise.
const (
	defaultTTL      = 30 * time.Second
	defaultMaxStale = 24 * time.Hour
)

// How long an origin may take to begin an answer.
const (
	defaultTimeout = 30 * time.Second
	minTimeout     = 100 * time.Millisecond
)

// problem is what is wrong with a key.
type problem struct{ key, reason string }

// component is what the name of an upstream must look like: it is the first part of the
// names of its repositories here.
var component = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)

// host is what the host of an upstream must look like.
var host = regexp.MustCompile(`^` + reference.DomainRegexp.String() + `$`)

// upstream is the upstream that the keys describe.
func (k upstreamKeys) upstream(name string) (u *upstream, problems []problem) {
	wrong := func(key, format string, args ...any) {
		problems = append(problems, problem{key, fmt.Sprintf(format, args...)})
	}
	if !component.MatchString(name) {
		wrong("", "is not a part of the name of a repository; say in ns which host it is")
	}
	u = &upstream{name: name, ttl: defaultTTL, maxStale: defaultMaxStale, username: k.Username, password: k.Password}
	base, err := url.Parse(k.URL)
	switch {
	case k.URL == "":
		wrong("url", "must be given")
	case err != nil:
		wrong("url", "cannot be read as a URL")
	case base.Scheme != "https" && base.Scheme != "http" || base.Host == "":
		wrong("url", "must begin with https:// or http:// and a host")
	case base.User != nil || base.RawQuery != "" || base.ForceQuery || base.Fragment != "" || !host.MatchString(base.Host):
		wrong("url", "must be a host and maybe a path, and nothing else")
	default:
		u.plain, u.host, u.path = base.Scheme == "http", base.Host, strings.Trim(base.Path, "/")
	}
	if k.NS != "" && !host.MatchString(k.NS) {
		wrong("ns", "%q is not a host, with its port if that is not the usual one", k.NS)
	}
	if k.PasswordFile != "" {
		content, err := os.ReadFile(k.PasswordFile)
		if err != nil {
			wrong("passwordfile", "cannot be read: %v", withoutPath(err))
		}
		u.password = strings.TrimRight(string(content), "\r\n")
		if k.Password != "" {
			wrong("passwordfile", "cannot be given together with password")
		}
	}
	if (u.username == "") != (u.password == "") && k.PasswordFile == "" {
		wrong("username", "must be given together with a password")
	}
	if k.TTL != nil {
		u.ttl = *k.TTL
	}
	if k.MaxStale != nil {
		u.maxStale = *k.MaxStale
	}
	u.bounds = boundsOf(defaultTimeout)
	if k.Timeout != nil {
		if u.bounds = boundsOf(*k.Timeout); *k.Timeout < minTimeout {
			wrong("timeout", "must be at least %s", minTimeout)
		}
	}
	if k.TLS.CA != "" {
		if u.tls, err = trusting(k.TLS.CA); err != nil {
			wrong("tls.ca", "%v", err)
		}
	}
	return u, problems
}

// withoutPath is an error about a file without its name, where somebody may have given
// the password itself.
func withoutPath(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// trusting trusts the certificates of a file beside those of the system.
func trusting(file string) (*tls.Config, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("there is no certificate in %s", file)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// names says which requests mean which upstream.
type names struct {
	byNS     map[string]string // upstreams by the host that clients name
	upstream map[string]bool
	local    []string // first parts of the names that are this registry's own
	standard string   // for names that name no upstream; empty: they are this registry's own
}

func (k keys) names() (n names, problems []problem) {
	n = names{byNS: map[string]string{}, upstream: map[string]bool{}, local: k.Local, standard: k.Default}
	for name, u := range k.Upstreams {
		ns := u.NS
		if ns == "" {
			ns = name
		}
		if other, taken := n.byNS[ns]; taken {
			problems = append(problems, problem{fmt.Sprintf("upstreams[%s].ns", max(name, other)), fmt.Sprintf("%s is that of %s", ns, min(name, other))})
		}
		n.byNS[ns], n.upstream[name] = name, true
	}
	if k.Default != "" && !n.upstream[k.Default] {
		problems = append(problems, problem{"default", fmt.Sprintf("%q is not one of the upstreams", k.Default)})
	}
	for i, first := range k.Local {
		key := fmt.Sprintf("local[%d]", i)
		switch {
		case !component.MatchString(first):
			problems = append(problems, problem{key, fmt.Sprintf("%q is not the first part of the name of a repository", first)})
		case n.upstream[first]:
			problems = append(problems, problem{key, fmt.Sprintf("%q is an upstream", first)})
		}
	}
	if len(k.Local) > 0 && k.Default == "" {
		problems = append(problems, problem{"local", "is only for a registry with a default"})
	}
	return n, problems
}

// dockerHub is the registry whose repositories have a first part that clients may leave out.
const dockerHub = "docker.io"

// of is the repository that a request means by a name, and by the host that it names, if
// any. It reports whether there is one.
func (n names) of(name, ns string) (repository string, ok bool) {
	first, below, nested := strings.Cut(name, "/")
	var upstream string
	switch {
	case ns != "":
		if upstream, ok = n.byNS[ns]; !ok {
			return "", false
		}
		if first == upstream && nested { // the path says so, too
			name = below
		}
	case n.upstream[first] && nested:
		upstream, name = first, below
	case n.standard != "" && !slices.Contains(n.local, first):
		upstream = n.standard
	default:
		return name, true
	}
	if upstream == dockerHub && !strings.Contains(name, "/") {
		name = "library/" + name
	}
	return upstream + "/" + name, true
}
