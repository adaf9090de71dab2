// Package mirror is the extension that serves what other registries have, with the
// signatures and SBOMs that are attached to it. See README.md in this folder.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/oras-distribution/registry/extensions"
)

// Extension implements extensions.Extension.
type Extension struct {
	names     names
	upstreams map[string]*upstream
	whole     *upstream // of a pull-through cache of distribution's, which is one of all of it
	prefix    string
	downloads *downloads
}

// New makes the extension. Without upstreams in the configuration, it changes nothing.
func New() *Extension { return &Extension{} }

// Name implements extensions.Extension.
func (*Extension) Name() string { return "mirror" }

// Configure implements extensions.Configurer.
func (e *Extension) Configure(section extensions.Section) error {
	var keys keys
	err := section.Decode(&keys)
	e.upstreams = map[string]*upstream{}
	for _, name := range slices.Sorted(maps.Keys(keys.Upstreams)) {
		key := fmt.Sprintf("upstreams[%s]", name)
		upstream, upstreamErr := keys.Upstreams[name].upstream(name)
		for _, problem := range upstreamErr {
			err = errors.Join(err, section.Errorf(strings.TrimSuffix(key+"."+problem.key, "."), "%s", problem.reason))
		}
		e.upstreams[name] = upstream
	}
	var problems []problem
	e.names, problems = keys.names()
	for _, problem := range problems {
		err = errors.Join(err, section.Errorf(problem.key, "%s", problem.reason))
	}
	return err
}

// Check implements extensions.Checker.
func (e *Extension) Check(kind extensions.Kind) error {
	switch {
	case len(e.upstreams) == 0:
		return nil
	case kind.Cache:
		return errors.New("extensions.mirror.upstreams: cannot be given together with proxy.remoteurl")
	case kind.ReadOnly:
		return errors.New("extensions.mirror.upstreams: a read-only registry cannot store what its upstreams have")
	}
	return nil
}

// Decorate implements extensions.Decorator.
func (e *Extension) Decorate(services extensions.Services) (extensions.Content, error) {
	e.prefix = services.Prefix
	switch {
	case services.Origin != nil:
		return e.list(services), nil
	case len(e.upstreams) == 0:
		return services.Content, nil
	}
	metrics := newMetrics(services.Metrics)
	for _, u := range e.upstreams {
		u.connect(metrics)
	}
	store := newStore(services)
	e.downloads = &store.downloads
	return extensions.Content{
		Namespace: &namespace{Namespace: services.Namespace, extension: e, store: store},
		Referrers: &lister{Lister: services.Referrers, extension: e, store: store},
	}, nil
}

// list lists who refers to what distribution's pull-through cache serves.
func (e *Extension) list(services extensions.Services) extensions.Content {
	origin := *services.Origin
	u, problems := upstreamKeys{URL: origin.URL, Username: origin.Username, Password: origin.Password}.upstream("proxy")
	if len(problems) == 0 && u.path != "" { // distribution takes it for what stands before /v2/
		problems = append(problems, problem{"url", "must be a host without a path"})
	}
	if len(problems) > 0 {
		logrus.Warnf("mirror: the referrers of what this cache serves are not listed: proxy.remote%s %s", problems[0].key, problems[0].reason)
		return services.Content
	}
	u.connect(newMetrics(services.Metrics))
	e.whole = u
	return extensions.Content{
		Namespace: services.Namespace,
		Referrers: &lister{Lister: services.Referrers, extension: e, store: newStore(services)},
	}
}

// Rewrite implements extensions.Rewriter.
func (e *Extension) Rewrite(next http.Handler) http.Handler {
	if len(e.upstreams) == 0 && e.whole == nil {
		return next
	}
	return &rewriter{Extension: e, next: next}
}

// Summary implements extensions.Summarizer.
func (e *Extension) Summary() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(e.upstreams)) {
		all = append(all, name+" from "+path.Join(e.upstreams[name].host, e.upstreams[name].path))
	}
	return strings.Join(all, ", ")
}

// Close implements extensions.Closer. It waits for the blobs that are on their way here.
func (e *Extension) Close(ctx context.Context) error {
	if e.downloads == nil {
		return nil
	}
	return e.downloads.close(ctx)
}

// origin is where the content of a repository comes from, and its name there; nil for a
// repository of this registry's own.
func (e *Extension) origin(repository string) *origin {
	if e.whole != nil {
		return e.whole.origin(repository, repository)
	}
	name, below, ok := strings.Cut(repository, "/")
	u := e.upstreams[name]
	if u == nil || !ok {
		return nil
	}
	return u.origin(repository, below)
}
