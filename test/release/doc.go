// Package release tests `make release`. It is part of `make e2e`.
package release
