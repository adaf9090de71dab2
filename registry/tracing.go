package registry

import (
	"os"

	"github.com/sirupsen/logrus"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace/noop"
)

// exporterVariable names the exporter of traces; distribution takes the one to a
// local collector where it is not set.
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

// untraced makes a registry that makes no spans unless the environment asks for
// them: distribution would make one for every request and storage operation, and
// export them to a collector that is not there.
func untraced(newRegistry func() error) error {
	if tracesWanted() {
		return newRegistry()
	}
	if err := os.Setenv(exporterVariable, "none"); err != nil {
		logrus.Warnf("turning off the export of traces: %v", err)
	}
	// The first provider serves the tracers that distribution has made already, the
	// last one those of requests. In between, distribution sets its own.
	otel.SetTracerProvider(noop.NewTracerProvider())
	if err := newRegistry(); err != nil {
		return err
	}
	otel.SetTracerProvider(noop.NewTracerProvider())
	return nil
}
