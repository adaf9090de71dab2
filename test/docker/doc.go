// Package docker tests the container image, and the registry's clients of the
// Docker engine, with a real engine. It is part of `make e2e`.
package docker
