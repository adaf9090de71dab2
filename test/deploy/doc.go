// Package deploy tests what deploy/ contains. The tests of the systemd unit are part of
// `make e2e`.
package deploy
