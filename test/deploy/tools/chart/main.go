// Command chart lints a Helm chart, renders it with files of values, decodes the result
// strictly into Kubernetes' own types, and prints it. It is for tests, and for `make
// manifests`:
//
//	chart FOLDER RELEASE [VALUES...]
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: chart FOLDER RELEASE [VALUES...]")
		os.Exit(2)
	}
	if err := run(os.Stdout, os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(out io.Writer, folder, release string, files []string) error {
	values, err := read(files)
	if err != nil {
		return err
	}
	manifests, err := render(folder, release, values)
	if err != nil {
		return err
	}
	if err := linted(folder, values); err != nil {
		return err
	}
	decode, err := decoder()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(manifests)) {
		text := strings.TrimSpace(manifests[name])
		if text == "" || strings.HasPrefix(text, "{{") {
			continue
		}
		if err := decode(text); err != nil {
			return fmt.Errorf("%s: %w\n%s", name, err, text)
		}
		if _, err := fmt.Fprintf(out, "---\n%s\n", text); err != nil {
			return err
		}
	}
	return nil
}

// read merges files of values, as Helm does.
func read(files []string) (map[string]any, error) {
	values := map[string]any{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		over, err := loader.LoadValues(bytes.NewReader(content))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		values = loader.MergeMaps(values, over)
	}
	return values, nil
}

// linted refuses what Helm's linter warns of.
func linted(folder string, values map[string]any) error {
	var all error
	for _, message := range lint.RunAll(folder, values, "registry").Messages {
		if message.Severity >= support.WarningSev {
			all = errors.Join(all, message)
		}
	}
	return all
}

// render returns what each template of a chart says with values that its schema allows.
func render(folder, release string, values map[string]any) (map[string]string, error) {
	chart, err := loader.LoadDir(folder)
	if err != nil {
		return nil, err
	}
	options := common.ReleaseOptions{Name: release, Namespace: "registry", Revision: 1, IsInstall: true}
	all, err := util.ToRenderValues(chart, values, options, common.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	renderer := engine.Engine{Strict: true}
	return renderer.RenderWithContext(context.Background(), chart, all)
}

// decoder returns a function that refuses documents which are not of a type that Kubernetes
// knows, or have fields that it does not.
func decoder() (func(text string) error, error) {
	if err := errors.Join(monitoring.AddToScheme(scheme.Scheme), gateway.Install(scheme.Scheme)); err != nil {
		return nil, err
	}
	strict := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	return func(text string) error {
		documents := utilyaml.NewDocumentDecoder(io.NopCloser(strings.NewReader(text)))
		defer documents.Close()
		for {
			document := make([]byte, len(text))
			n, err := documents.Read(document)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if _, _, err := strict.Decode(document[:n], nil, nil); err != nil {
				return err
			}
		}
	}, nil
}
