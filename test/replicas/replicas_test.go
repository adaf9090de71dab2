//go:build !e2e

package replicas_test

import (
	"flag"
	"testing"

	"github.com/oras-distribution/registry/test/replicas"
)

var operations = flag.Int("replicas.operations", 60, "how many operations each client does")

func TestFourRegistriesAnd32ClientsOnOneSubject(t *testing.T) {
	replicas.Load{Registries: 4, Clients: 32, Operations: *operations}.OneSubject(t)
}

func TestSameManifestPushedAndDeletedAtOnce(t *testing.T) {
	replicas.Load{Registries: 4, Operations: *operations}.SameDigest(t)
}

func TestSameManifestWithClientsThatBreakOff(t *testing.T) {
	replicas.Load{Registries: 4, Operations: *operations / 2, BreakOff: true}.SameDigest(t)
}
