// Command bench measures registries over HTTP, with real connections.
//
// By default it starts the binaries of this registry and of distribution's, with the
// configuration that a user has, and a server that does nothing but write bytes from
// memory. They get the same requests in alternating turns, so that other load on the
// machine affects all of them, and what counts is the ratio. `make bench` builds the
// binaries and runs it.
//
// With -url it measures any one registry by the same requests: it pushes a number of
// referrers, lists them, and walks through their pages.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
)

type options struct {
	ours, stock string // the paths of binaries
	only        *regexp.Regexp
	turns       int
	repository  string
	referrers   int
}

func main() {
	if err := run(os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, args []string) error {
	var o options
	var t target
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.ours, "ours", "bin/registry", "the binary of this registry")
	flags.StringVar(&o.stock, "stock", "bin/stock", "the binary of distribution's registry")
	only := flags.String("run", "", "measure only the rows whose names match this expression")
	flags.IntVar(&o.turns, "turns", 50, "how many turns each side has")
	flags.StringVar(&t.URL, "url", "", "measure the registry that listens there, instead of the binaries")
	flags.StringVar(&t.Header, "header", "", "a further header of every request, such as `Authorization: Bearer …`")
	flags.StringVar(&o.repository, "repository", "bench/referrers", "the repository to push to, with -url")
	flags.IntVar(&o.referrers, "referrers", 1000, "how many referrers to push, with -url")
	bare := flags.Bool("bare", false, "be the server of bytes from memory")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var err error
	if o.only, err = regexp.Compile(*only); err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	switch {
	case *bare:
		return serveBare(out)
	case t.URL != "":
		return measure(out, t, o)
	}
	return compare(out, o)
}
