// Govulncheck and the database that it reads, pinned, in a module of their own.
// Of golang.org/x/vulndb only data/osv is used; the package that is named of it
// is its smallest, and holds the requirement. Run with: make vulncheck
module github.com/oras-distribution/registry/tools/vulncheck

go 1.26.0

tool (
	golang.org/x/vuln/cmd/govulncheck
	golang.org/x/vulndb/cmd/vulnreport/color
)

require (
	golang.org/x/mod v0.42.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/telemetry v0.0.0-20261010193011-f71dc92da45e // indirect
	golang.org/x/tools v0.52.0 // indirect
	golang.org/x/vuln v1.9.0 // indirect
	golang.org/x/vulndb v0.0.0-20261105234957-e22db6528018 // indirect
)
