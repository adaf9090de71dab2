package router

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/sirupsen/logrus"

	"github.com/oras-distribution/registry/internal/listing"
)

// writeError answers with an error in the form of distribution-spec v1.1, "Error
// Codes". What it cannot name is logged and answered with 500.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	var (
		special listing.StatusError
		coded   errcode.Error
		codes   errcode.Errors
		code    errcode.ErrorCode
		later   interface{ Retry() time.Duration }
		unknown distribution.ErrManifestUnknownRevision
	)
	switch {
	case errors.As(err, &special):
		w, err = statusWriter{w, special.Status}, special.Cause
	case errors.As(err, &codes):
		err = codes
	case errors.As(err, &coded):
		err = coded
	case errors.As(err, &code):
		err = code
	case errors.As(err, &later):
		w.Header().Set("Retry-After", strconv.Itoa(int(later.Retry().Seconds()+0.5)))
		err = errcode.ErrorCodeUnavailable.WithDetail(err.Error())
	case errors.As(err, &unknown):
		err = errcode.ErrorCodeManifestUnknown.WithDetail(unknown)
	default:
		logError(r, err)
		if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
			return // nobody is there to read an answer
		}
		err = errcode.ErrorCodeUnknown.WithDetail(map[string]string{"path": r.URL.Path, "reason": "see the log of the registry"})
	}
	if serveErr := errcode.ServeJSON(w, err); serveErr != nil {
		logError(r, serveErr)
	}
}

// statusWriter answers with its own status, whatever it is told.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w statusWriter) WriteHeader(int) { w.ResponseWriter.WriteHeader(w.status) }

func logError(r *http.Request, err error) {
	logrus.WithFields(logrus.Fields{
		"http.request.method": r.Method, "http.request.uri": r.RequestURI,
	}).Errorf("request failed: %s", firstLine(err))
}

func firstLine(err error) string {
	if err == nil {
		return "no error and no result"
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// Recovering answers with 500 where next panics.
func Recovering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			if entry, ok := p.(*logrus.Entry); ok {
				p = entry.Message // distribution's own handler has logged it and panicked again
			}
			logrus.WithField("http.request.uri", r.RequestURI).Errorf("panic: %v\n%s", p, debug.Stack())
			if w.Header().Get("Content-Length") != "" {
				panic(http.ErrAbortHandler) // the answer has begun: break it off
			}
			writeError(w, r, fmt.Errorf("panic while serving %s", r.URL.Path))
		}()
		next.ServeHTTP(w, r)
	})
}
