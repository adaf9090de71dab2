// Package local tests deploy/local/stack, and with it the parts of deploy/compose: three
// replicas as processes, on an S3 gateway, with Redis, behind a proxy. It is part of
// `make e2e`.
package local
