// Package backends runs the tests on storage backends that are servers: see the
// script `with`, which starts them. It is for tests only.
package backends
