// Package backends runs the tests on storage backends that are servers, which the
// script `with` starts. It is for tests only.
package backends
