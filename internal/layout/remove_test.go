package layout

import (
	"context"
	"errors"
	"testing"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
)

// answers is an error of an object store with a status.
type answers int

func (answers) Error() string     { return "storage: the object is not as expected" }
func (a answers) StatusCode() int { return int(a) }

// stubborn is a storage driver whose deletes fail, before or after they have taken effect.
type stubborn struct {
	storagedriver.StorageDriver
	deletes bool
}

func (d stubborn) Delete(ctx context.Context, path string) error {
	if d.deletes {
		if err := d.StorageDriver.Delete(ctx, path); err != nil {
			return err
		}
	}
	return storagedriver.Error{DriverName: "stubborn", Detail: answers(404)}
}

// That something is gone already is no error, however a driver says so.
func TestRemove(t *testing.T) {
	ctx := t.Context()
	for _, deletes := range []bool{true, false} {
		driver := stubborn{inmemory.New(), deletes}
		if err := driver.PutContent(ctx, "/file", nil); err != nil {
			t.Fatal(err)
		}
		if err := Remove(ctx, driver, "/file"); (err == nil) != deletes {
			t.Errorf("the file is gone: %t, and removing it answers %v", deletes, err)
		}
		if err := Remove(ctx, driver, "/nothing"); err != nil {
			t.Errorf("removing what is not there: %v", err)
		}
	}
}

// What another registry got in the way of is done again, and nothing else is.
func TestUndisturbed(t *testing.T) {
	for _, test := range []struct {
		err   error
		times int
	}{
		{storagedriver.PathNotFoundError{Path: "/folder"}, 3},
		{storagedriver.Error{DriverName: "s3aws", Detail: answers(409)}, 3},
		{storagedriver.Error{DriverName: "s3aws", Detail: answers(500)}, 1},
		{errors.New("it is full"), 1},
	} {
		times := 0
		err := Undisturbed(t.Context(), func() error {
			if times++; times < 3 {
				return test.err
			}
			return nil
		})
		if times != test.times || (err == nil) != (times == 3) {
			t.Errorf("%v: done %d times, want %d, and then %v", test.err, times, test.times, err)
		}
	}
}
