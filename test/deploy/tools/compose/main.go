// Command compose checks a Compose file as Docker Compose does, and prints the images that
// it names. It is for tests:
//
//	compose FILE
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: compose FILE")
		os.Exit(2)
	}
	if err := run(os.Stdout, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(out io.Writer, file string) error {
	project, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  filepath.Dir(file),
		ConfigFiles: []types.ConfigFile{{Filename: file}},
		Environment: types.Mapping{},
	}, func(o *loader.Options) { o.SetProjectName("registry", true) })
	if err != nil {
		return err
	}
	for _, name := range project.ServiceNames() {
		service, err := project.GetService(name)
		if err != nil {
			return err
		}
		if service.Build == nil {
			if _, err := fmt.Fprintln(out, service.Image); err != nil {
				return err
			}
		}
	}
	return nil
}
