package faultdriver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path"
	"slices"
	"sync"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
)

// Objects is an object store in memory: it has keys, and folders only as prefixes of
// keys. Times increase with every write. Its methods may be called from many
// goroutines.
type Objects struct {
	name string

	mu      sync.RWMutex
	files   map[string]object
	folders map[string]names // that have something in them
	clock   time.Time
}

// names are those of the files and folders in a folder.
type names map[string]struct{}

type object struct {
	content []byte // never changed
	time    time.Time
}

// NewObjects makes an empty store with a driver name, for code that treats drivers
// differently by name.
func NewObjects(name string) *Objects {
	return &Objects{name: name, files: map[string]object{}, folders: map[string]names{}, clock: time.Unix(1_700_000_000, 0)}
}

// Clone returns an independent store with the same content.
func (s *Objects) Clone() *Objects {
	s.mu.RLock()
	defer s.mu.RUnlock()
	folders := make(map[string]names, len(s.folders))
	for folder, in := range s.folders {
		folders[folder] = maps.Clone(in)
	}
	return &Objects{name: s.name, files: maps.Clone(s.files), folders: folders, clock: s.clock}
}

// put adds a file, and the folders that it is in.
func (s *Objects) put(file string, content object) {
	s.files[file] = content
	for file != "/" {
		folder, name := path.Dir(file), path.Base(file)
		if s.folders[folder] == nil {
			s.folders[folder] = names{}
		}
		s.folders[folder][name] = struct{}{}
		file = folder
	}
}

// remove removes a file, and the folders that are empty then.
func (s *Objects) remove(file string) {
	delete(s.files, file)
	for file != "/" && len(s.folders[file]) == 0 {
		if _, there := s.files[file]; there { // one whose path was a folder, too
			return
		}
		delete(s.folders, file)
		folder := path.Dir(file)
		delete(s.folders[folder], path.Base(file))
		file = folder
	}
}

// below returns the files that have this path or are below it.
func (s *Objects) below(top string) (files []string) {
	if _, ok := s.files[top]; ok {
		files = append(files, top)
	}
	for name := range s.folders[top] {
		files = append(files, s.below(path.Join(top, name))...)
	}
	return files
}

// Files are the paths of all files, sorted.
func (s *Objects) Files() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.files))
}

// Name implements storagedriver.StorageDriver.
func (s *Objects) Name() string { return s.name }

func (s *Objects) notFound(path string) error {
	return storagedriver.PathNotFoundError{Path: path, DriverName: s.name}
}

// GetContent implements storagedriver.StorageDriver.
func (s *Objects) GetContent(_ context.Context, path string) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	file, ok := s.files[path]
	if !ok {
		return nil, s.notFound(path)
	}
	return bytes.Clone(file.content), nil
}

// PutContent implements storagedriver.StorageDriver.
func (s *Objects) PutContent(_ context.Context, path string, content []byte) error {
	if !storagedriver.PathRegexp.MatchString(path) {
		return storagedriver.InvalidPathError{Path: path, DriverName: s.name}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = s.clock.Add(time.Millisecond)
	s.put(path, object{bytes.Clone(content), s.clock})
	return nil
}

// Reader implements storagedriver.StorageDriver.
func (s *Objects) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	content, err := s.GetContent(ctx, path)
	if err != nil {
		return nil, err
	}
	if offset < 0 || offset > int64(len(content)) {
		return nil, storagedriver.InvalidOffsetError{Path: path, Offset: offset, DriverName: s.name}
	}
	return io.NopCloser(bytes.NewReader(content[offset:])), nil
}

// Stat implements storagedriver.StorageDriver.
func (s *Objects) Stat(_ context.Context, path string) (storagedriver.FileInfo, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	fields := storagedriver.FileInfoFields{Path: path}
	if file, ok := s.files[path]; ok {
		fields.Size, fields.ModTime = int64(len(file.content)), file.time
		return storagedriver.FileInfoInternal{FileInfoFields: fields}, nil
	}
	if len(s.folders[path]) > 0 {
		fields.IsDir = true
		return storagedriver.FileInfoInternal{FileInfoFields: fields}, nil
	}
	return nil, s.notFound(path)
}

// List implements storagedriver.StorageDriver.
func (s *Objects) List(_ context.Context, folder string) ([]string, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.folders[folder]) == 0 && folder != "/" {
		return nil, s.notFound(folder)
	}
	paths := slices.Sorted(maps.Keys(s.folders[folder]))
	for i, name := range paths {
		paths[i] = path.Join(folder, name)
	}
	return paths, nil
}

// Move implements storagedriver.StorageDriver.
func (s *Objects) Move(_ context.Context, source, dest string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	file, ok := s.files[source]
	if !ok {
		return s.notFound(source)
	}
	s.remove(source)
	s.put(dest, file)
	return nil
}

// Delete implements storagedriver.StorageDriver.
func (s *Objects) Delete(_ context.Context, path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	files := s.below(path)
	if len(files) == 0 {
		return s.notFound(path)
	}
	for _, file := range files {
		s.remove(file)
	}
	return nil
}

// RedirectURL implements storagedriver.StorageDriver.
func (s *Objects) RedirectURL(*http.Request, string) (string, error) { return "", nil }

// Walk implements storagedriver.StorageDriver.
func (s *Objects) Walk(ctx context.Context, path string, visit storagedriver.WalkFn, options ...func(*storagedriver.WalkOptions)) error {
	return storagedriver.WalkFallback(ctx, s, path, visit, options...)
}

// Writer implements storagedriver.StorageDriver.
func (s *Objects) Writer(ctx context.Context, path string, appending bool) (storagedriver.FileWriter, error) {
	w := &objectWriter{store: s, path: path}
	if appending {
		content, err := s.GetContent(ctx, path)
		if err != nil && !errors.As(err, new(storagedriver.PathNotFoundError)) {
			return nil, err
		}
		w.content = content
	}
	return w, nil
}

// objectWriter makes its content visible when it is closed or committed.
type objectWriter struct {
	store   *Objects
	path    string
	content []byte
	ended   bool
}

func (w *objectWriter) Write(content []byte) (int, error) {
	if w.ended {
		return 0, fmt.Errorf("writing to %s: already ended", w.path)
	}
	w.content = append(w.content, content...)
	return len(content), nil
}

func (w *objectWriter) Size() int64 { return int64(len(w.content)) }

func (w *objectWriter) Close() error {
	if w.ended {
		return nil
	}
	return w.Commit(context.Background())
}

func (w *objectWriter) Commit(ctx context.Context) error {
	if w.ended {
		return fmt.Errorf("committing %s: already ended", w.path)
	}
	w.ended = true
	return w.store.PutContent(ctx, w.path, w.content)
}

func (w *objectWriter) Cancel(context.Context) error {
	w.ended = true
	return nil
}
