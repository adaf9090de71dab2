// Command atsize measures a registry over a large storage tree, which it writes to the
// disk, and prints a table: the start, listings, the commands that go through everything.
//
//	go run ./test/atsize -repositories 1 -manifests 200000
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "atsize:", err)
		os.Exit(1)
	}
}

// site is a registry and its tree.
type site struct {
	shape
	out            io.Writer
	binary         string
	folder, config string
}

func run(out io.Writer, args []string) error {
	s := site{out: out}
	flags := flag.NewFlagSet("atsize", flag.ContinueOnError)
	flags.StringVar(&s.binary, "registry", "bin/registry", "the binary of the registry")
	flags.IntVar(&s.repositories, "repositories", 1, "how many repositories the tree has")
	flags.IntVar(&s.manifests, "manifests", 1000, "how many manifests each of them has")
	flags.IntVar(&s.orphans, "orphans", 1000, "how many blobs there are that nothing needs")
	parent := flags.String("folder", os.TempDir(), "the folder to write the tree to, which is removed afterwards")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var err error
	if s.folder, err = os.MkdirTemp(*parent, "atsize"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(s.folder) }()
	s.config = filepath.Join(s.folder, "config.yml")
	text := fmt.Appendf(nil, `version: 0.1
storage: {filesystem: {rootdirectory: %q}, delete: {enabled: true}, maintenance: {uploadpurging: {enabled: false}}}
http: {addr: 127.0.0.1:0, secret: atsize}
`, s.root())
	if err := os.WriteFile(s.config, text, 0o644); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "| %d manifests in each of %d repositories | | memory |\n| --- | --- | --- |\n", s.manifests, s.repositories)
	return s.measure()
}

func (s site) root() string { return filepath.Join(s.folder, "data") }

// measure goes through the life of a tree: first nothing is known of it, then all.
func (s site) measure() error {
	began := time.Now()
	if err := s.write(s.root()); err != nil {
		return err
	}
	s.row("writing the tree", time.Since(began), 0)
	for _, step := range []func() error{
		func() error { return s.serve("nothing is known") },
		func() error { return s.serve("all is known") },
		func() error {
			return s.command("`referrers rebuild`, which links all", "referrers", "rebuild", s.config)
		},
		func() error { return s.command("`referrers rebuild`, again", "referrers", "rebuild", s.config) },
		func() error { return s.command("`referrers verify`", "referrers", "verify", s.config) },
		func() error { return s.serve("all is linked") },
		s.find,
		func() error {
			return s.command("`garbage-collect --dry-run`", "garbage-collect", "--dry-run", s.config)
		},
		func() error { return s.command("`garbage-collect`", "garbage-collect", s.config) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// row writes a line of the table. Memory is in bytes, 0 if nobody asked.
func (s site) row(name string, took time.Duration, memory int64) {
	size := ""
	if memory > 0 {
		size = fmt.Sprintf("%d MiB", memory>>20)
	}
	digits := time.Millisecond
	if took < 100*time.Millisecond {
		digits = time.Millisecond / 100
	}
	_, _ = fmt.Fprintf(s.out, "| %s | %s | %s |\n", name, took.Round(digits), size)
}

// command runs the registry's binary to its end, and reports its peak memory.
func (s site) command(name string, args ...string) error {
	cmd := exec.Command(s.binary, args...)
	began := time.Now()
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%.2000s", name, err, output)
	}
	took := time.Since(began)
	usage, _ := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	s.row(name, took, usage.Maxrss<<10)
	return nil
}

// find is what the collector is compared with.
func (s site) find() error {
	for _, c := range []struct{ name, script string }{
		{"`find` over the tree", `find "$1" -type f >/dev/null`},
		{"`find` over the tree, and every blob read once", `find "$1" -type f >/dev/null && find "$1"/docker/registry/v2/blobs -name data -print0 | xargs -0 cat >/dev/null`},
	} {
		began := time.Now()
		if err := exec.Command("sh", "-c", c.script, "sh", s.root()).Run(); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		s.row(c.name, time.Since(began), 0)
	}
	return nil
}
