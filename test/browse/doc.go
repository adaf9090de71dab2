// Package browse tests the pages that people look at: over HTTP, and in a browser.
package browse
