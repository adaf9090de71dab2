package registry

import (
	"os"

	"github.com/sirupsen/logrus"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace/noop"
)

// exporterVariable names the exporter of traces. If it is not set, distribution exports
// to a local collector.
const exporterVariable = "OTEL_TRACES_EXPORTER"

// tracesWanted reports whether the environment asks for traces.
func tracesWanted() bool {
	switch os.Getenv(exporterVariable) {
	case "none":
		return false
	case "":
		return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
	}
	return true
}

// untraced creates a registry that records no spans unless the environment asks for
// them: distribution would record one for every request and storage operation, and
// export them to a collector that does not exist.
func untraced(newRegistry func() error) error {
	if tracesWanted() {
		return newRegistry()
	}
	if err := os.Setenv(exporterVariable, "none"); err != nil {
		logrus.Warnf("turning off the export of traces: %v", err)
	}
	// The first provider serves the tracers that distribution has already created, the
	// last one those of requests. In between, distribution sets its own.
	otel.SetTracerProvider(noop.NewTracerProvider())
	if err := newRegistry(); err != nil {
		return err
	}
	otel.SetTracerProvider(noop.NewTracerProvider())
	return nil
}
