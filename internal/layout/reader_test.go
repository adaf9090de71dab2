package layout_test

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"

	"github.com/oras-distribution/registry/internal/layout"
)

// What drivers say of a path that is not there is recognized, and nothing else.
func TestIsNotFound(t *testing.T) {
	gone := &fs.PathError{Op: "readdirent", Path: "/a", Err: fs.ErrNotExist}
	for _, test := range []struct {
		err  error
		want bool
	}{
		{storagedriver.PathNotFoundError{Path: "/a"}, true},
		{fmt.Errorf("listing: %w", storagedriver.PathNotFoundError{Path: "/a"}), true},
		{storagedriver.Error{DriverName: "filesystem", Detail: gone}, true}, // a folder that goes while it is listed
		{fmt.Errorf("listing: %w", storagedriver.Error{DriverName: "filesystem", Detail: gone}), true},
		{storagedriver.Error{DriverName: "filesystem", Detail: fs.ErrPermission}, false},
		{errors.New("not found"), false},
		{nil, false},
	} {
		if got := layout.IsNotFound(test.err); got != test.want {
			t.Errorf("%v: %v, want %v", test.err, got, test.want)
		}
	}
}

// What the filesystem driver says when another process is at work in the same folder is
// tried again, and nothing else is for long.
func TestIsInterference(t *testing.T) {
	driverError := func(err error) error { return storagedriver.Error{DriverName: "filesystem", Detail: err} }
	for _, test := range []struct {
		err  error
		want bool
	}{
		{storagedriver.PathNotFoundError{Path: "/a"}, true},
		{driverError(&fs.PathError{Op: "open", Path: "/a/link.tmp", Err: syscall.ENOENT}), true},
		{driverError(&fs.PathError{Op: "unlinkat", Path: "/a", Err: syscall.ENOTEMPTY}), true},
		{driverError(errors.Join(storagedriver.PathNotFoundError{Path: "/a"}, storagedriver.PathNotFoundError{Path: "/a"})), true},
		{fmt.Errorf("linking: %w", driverError(syscall.ENOENT)), true},
		{driverError(syscall.ENOSPC), false},
		{driverError(fs.ErrPermission), false},
		{errors.New("no such file"), false},
	} {
		if got := layout.IsInterference(test.err); got != test.want {
			t.Errorf("%v: %v, want %v", test.err, got, test.want)
		}
	}
}
