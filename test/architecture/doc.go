// Package architecture tests the imports between the project's packages.
package architecture
