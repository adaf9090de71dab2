package mirror

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/opencontainers/go-digest"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/auth"
	remote "oras.land/oras-go/v2/registry/remote/errcode"
)

// isAbsent reports whether an origin has said that it does not have what it was asked for.
func isAbsent(err error) bool {
	return errors.Is(err, errAbsent) || errors.Is(err, errdef.ErrNotFound) || statusOf(err) == http.StatusNotFound
}

var errAbsent = errors.New("the origin does not have it")

// isDenied reports whether an origin has said that the mirror may not have it.
func isDenied(err error) bool {
	status := statusOf(err)
	return status == http.StatusUnauthorized || status == http.StatusForbidden || errors.Is(err, auth.ErrBasicCredentialNotFound)
}

// localError is what went wrong in this registry, and says nothing about an origin.
type localError struct{ error }

// Unwrap is for errors.Is and errors.As.
func (e localError) Unwrap() error { return e.error }

// here says that an error is this registry's own.
func here(err error) error {
	if err == nil {
		return nil
	}
	return localError{err}
}

// isHere reports whether an error is this registry's own.
func isHere(err error) bool { return errors.As(err, new(localError)) && !isRefused(err) }

// isRefused reports whether this registry does not store what an origin has.
func isRefused(err error) bool {
	var local localError
	var own errcode.Error
	return errors.As(err, &local) && (errors.As(local.error, new(distribution.ErrManifestVerification)) ||
		errors.As(local.error, &own) && own.Code.Descriptor().HTTPStatusCode < http.StatusInternalServerError)
}

// isNotHere reports whether the storage has no such blob or manifest that can be served. Of a
// link, half may have been written.
func isNotHere(err error) bool {
	return errors.Is(err, distribution.ErrBlobUnknown) || errors.As(err, new(distribution.ErrManifestUnknownRevision)) ||
		errors.Is(err, digest.ErrDigestInvalidFormat) || errors.Is(err, digest.ErrDigestInvalidLength) || errors.Is(err, digest.ErrDigestUnsupported)
}

func statusOf(err error) int {
	var answer *remote.ErrorResponse
	if errors.As(err, &answer) {
		return answer.StatusCode
	}
	return 0
}

// failure is what a client is told when an origin has not answered what it was asked for.
func (o *origin) failure(err error) error {
	code := errcode.ErrorCodeUnavailable
	if isDenied(err) {
		code = errcode.ErrorCodeDenied
	}
	return code.WithMessage("the origin of this repository has not answered").WithDetail(map[string]string{
		"upstream": o.name, "repository": o.remote, "reason": reason(err),
	})
}

// address is one in the text of an error. All behind the host may be a credential: origins
// redirect to addresses that are signed.
var address = regexp.MustCompile(`https?://([^\s/"?#]+)[^\s"]*`)

// reason says what went wrong, without the addresses.
func reason(err error) string {
	var at *url.Error
	var answer *remote.ErrorResponse
	switch {
	case errors.As(err, &answer):
		return strings.TrimSpace(strconv.Itoa(answer.StatusCode) + " " + http.StatusText(answer.StatusCode))
	case errors.Is(err, context.DeadlineExceeded):
		return "it took too long"
	case errors.As(err, &at):
		err = at.Err
	}
	return address.ReplaceAllString(err.Error(), "$1")
}

// unknownRepository is what a client is told about a repository that the origin does not
// have.
func (o *origin) unknownRepository() error {
	return errcode.ErrorCodeNameUnknown.WithDetail(map[string]string{"name": o.repository})
}

func unknownNS(ns string) error {
	return errcode.ErrorCodeNameUnknown.WithMessage("this registry is no mirror of that one").WithDetail(map[string]string{"ns": ns})
}
