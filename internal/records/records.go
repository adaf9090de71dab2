// Package records keeps what extensions have found out about the content of a
// repository, in files that are never written twice: replicas cannot overwrite what
// another one knows.
package records

import (
	"context"
	"crypto/rand"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"

	"github.com/oras-distribution/registry/internal/layout"
)

// Records is those of one extension. It implements extensions.Records.
type Records struct {
	driver    storagedriver.StorageDriver
	extension string
}

// New opens the records of an extension.
func New(driver storagedriver.StorageDriver, extension string) *Records {
	return &Records{driver, extension}
}

// keys is what a key must look like: it becomes a path, for any driver.
var keys = regexp.MustCompile(`^[\w.-]*[\w-][\w.-]*(/[\w.-]*[\w-][\w.-]*)*$`)

func (r *Records) folder(repository, key string) (string, error) {
	if !keys.MatchString(key) {
		return "", fmt.Errorf("%q is not a key of records", key)
	}
	return layout.Records(repository, r.extension) + "/" + key, nil
}

// attempts is how often a record is looked for that another replica replaces meanwhile.
const attempts = 5

// Newest implements extensions.Records.
func (r *Records) Newest(ctx context.Context, repository, key string) (content []byte, at time.Time, err error) {
	folder, err := r.folder(repository, key)
	if err != nil {
		return nil, time.Time{}, err
	}
	for range attempts {
		newest, at, err := r.newest(ctx, folder)
		if err != nil || newest == "" {
			return nil, time.Time{}, err
		}
		content, err := r.driver.GetContent(ctx, newest)
		if err == nil {
			return content, at, nil
		}
		if !layout.IsNotFound(err) {
			return nil, time.Time{}, fmt.Errorf("reading a record of %s in %s: %w", key, repository, err)
		}
	}
	return nil, time.Time{}, nil
}

// Last is the time of the newest record of a key, zero if there is none.
func (r *Records) Last(ctx context.Context, repository, key string) (time.Time, error) {
	folder, err := r.folder(repository, key)
	if err != nil {
		return time.Time{}, err
	}
	_, at, err := r.newest(ctx, folder)
	return at, err
}

// newest is the newest record in a folder, and its time. It is empty if there is none.
func (r *Records) newest(ctx context.Context, folder string) (newest string, at time.Time, err error) {
	for range attempts {
		files, err := r.list(ctx, folder)
		if err != nil || files == nil {
			return "", time.Time{}, err
		}
		for _, file := range files {
			if of, ok := timeOf(file); ok && !of.Before(at) {
				newest, at = file, of
			}
		}
		if newest != "" {
			break // on filesystems, a list may show neither what is replaced nor what replaces it
		}
	}
	return newest, at, nil
}

// Add implements extensions.Records.
func (r *Records) Add(ctx context.Context, repository, key string, content []byte, at time.Time) error {
	folder, err := r.folder(repository, key)
	if err != nil {
		return err
	}
	file := fmt.Sprintf("%s/%020d-%s", folder, at.UnixNano(), rand.Text())
	if err := r.driver.PutContent(ctx, file, content); err != nil {
		return fmt.Errorf("adding a record of %s in %s: %w", key, repository, err)
	}
	files, err := r.list(ctx, folder)
	if err != nil {
		return err
	}
	for _, other := range files {
		if isOlder(other, at) {
			if err := layout.Remove(ctx, r.driver, other); err != nil {
				return fmt.Errorf("removing an old record of %s in %s: %w", key, repository, err)
			}
		}
	}
	return nil
}

// Remove implements extensions.Records.
func (r *Records) Remove(ctx context.Context, repository, key string) error {
	folder, err := r.folder(repository, key)
	if err == nil {
		err = layout.Remove(ctx, r.driver, folder)
	}
	if err != nil {
		return fmt.Errorf("removing the records of %s in %s: %w", key, repository, err)
	}
	return nil
}

func (r *Records) list(ctx context.Context, folder string) ([]string, error) {
	files, err := r.driver.List(ctx, folder)
	if err != nil && !layout.IsNotFound(err) {
		return nil, fmt.Errorf("listing records: %w", err)
	}
	return files, nil
}

// name is the name of a record: its time in nanoseconds, and what tells it from others. The
// filesystem driver gives it another end while it writes it.
var name = regexp.MustCompile(`^([0-9]{20})-[A-Z2-7]{26}(\..*)?$`)

// timeOf is the time of a record, which is in its name.
func timeOf(file string) (at time.Time, ok bool) {
	at, end, ok := parseName(file)
	return at, ok && end == ""
}

// unfinished is how old a record is at least that nobody is writing any more.
const unfinished = time.Hour

// isOlder reports whether a file is a record from before a time, or the rest of one that was
// being written long before.
func isOlder(file string, at time.Time) bool {
	of, end, ok := parseName(file)
	if end != "" {
		at = at.Add(-unfinished)
	}
	return ok && of.Before(at)
}

func parseName(file string) (at time.Time, end string, ok bool) {
	parts := name.FindStringSubmatch(path.Base(file))
	if parts == nil {
		return at, "", false
	}
	nanos, err := strconv.ParseInt(parts[1], 10, 64)
	return time.Unix(0, nanos), parts[2], err == nil
}
