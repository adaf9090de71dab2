package router

import (
	"cmp"
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
	"github.com/google/uuid"
	"github.com/gorilla/mux"
	"github.com/sirupsen/logrus"

	"github.com/oras-distribution/registry/internal/listing"
)

// writeError answers with an error in the form of distribution-spec v1.1, "Error
// Codes", and logs it. What it cannot name is answered with 500.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	var (
		special listing.StatusError
		coded   errcode.Error
		codes   errcode.Errors
		code    errcode.ErrorCode
		later   interface{ Retry() time.Duration }
		unknown distribution.ErrManifestUnknownRevision
	)
	status := 0 // that of the table
	switch {
	case errors.As(err, &special):
		status, err = special.Status, special.Cause
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
		serveError(w, r, unknownError(r), 0)
		return
	}
	logRefusal(r, serveError(w, r, err, status), err)
}

// serveError writes an error, with a status if it is not 0, and returns the status.
func serveError(w http.ResponseWriter, r *http.Request, err error, status int) int {
	written := &statusWriter{w, status}
	if serveErr := errcode.ServeJSON(written, err); serveErr != nil {
		logError(r, serveErr)
	}
	return written.status
}

// statusWriter answers with its own status, or else remembers the one that it is told.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = cmp.Or(w.status, status)
	w.ResponseWriter.WriteHeader(w.status)
}

func logError(r *http.Request, err error) {
	logged(r).Errorf("request failed: %s", firstLine(err))
}

// logRefusal writes the line that distribution writes about the requests that it refuses.
func logRefusal(r *http.Request, status int, why error) {
	line := logged(r).WithField("http.response.status", status)
	reason := firstLine(why)
	var coded errcode.Error
	if errors.As(why, &coded) && coded.Detail != nil {
		line = line.WithField("err.detail", fmt.Sprint(coded.Detail))
	}
	line.Warnf("request refused: %s", reason)
}

// logged is a line about a request.
func logged(r *http.Request) *logrus.Entry {
	fields := logrus.Fields{
		"http.request.id": requestID(r), "http.request.method": r.Method, "http.request.uri": r.RequestURI,
		"http.request.host": r.Host, "http.request.remoteaddr": r.RemoteAddr,
	}
	for name, value := range mux.Vars(r) {
		fields["vars."+name] = value
	}
	return logrus.WithFields(fields)
}

type idKey struct{}

// identified gives a request an identifier, as distribution does.
func identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), idKey{}, uuid.NewString())))
	})
}

func requestID(r *http.Request) string {
	id, _ := r.Context().Value(idKey{}).(string)
	return id
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
