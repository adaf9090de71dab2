package registry

import (
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/sirupsen/logrus"

	"github.com/oras-distribution/registry/internal/config"
)

// introduce writes the first lines of the log: the versions, and what is wrong with the
// configuration without being an error.
func introduce(c *config.Config) {
	setUpLog(c.Stock.Log)
	log := logrus.WithFields(c.Stock.Log.Fields)
	log.Infof("registry %s (commit %s)", Version(), commit())
	log.Infof("distribution %s", moduleVersion(distributionModule))
	if c.Embedded {
		log.Infof("no configuration given: will listen on %s and store in %s", c.Stock.HTTP.Addr, storageName(c.Stock.Storage))
	}
	for _, warning := range c.Warnings {
		log.Warn("configuration: " + warning)
	}
}

// setUpLog does what distribution does only after its first lines.
func setUpLog(c configuration.Log) {
	switch c.Formatter {
	default:
		logrus.SetFormatter(&logrus.TextFormatter{TimestampFormat: time.RFC3339Nano})
	case "json":
		logrus.SetFormatter(&logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano, DisableHTMLEscape: true})
	case "logstash":
		logrus.SetFormatter(&logrus.JSONFormatter{
			TimestampFormat: time.RFC3339Nano, FieldMap: logrus.FieldMap{logrus.FieldKeyFunc: "function"},
		})
	}
	if level, err := logrus.ParseLevel(string(c.Level)); err == nil { // which the parser has checked
		logrus.SetLevel(level)
	}
	logrus.SetReportCaller(c.ReportCaller)
}
