// Package docker tests the container image, and the registry with the Docker client,
// with a real engine. It is part of `make e2e`.
package docker
