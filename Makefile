# `make` lists the targets. All except e2e, race, image and image-local need only Go.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
PACKAGE := github.com/oras-distribution/registry
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X $(PACKAGE)/registry.version=$(VERSION) -X $(PACKAGE)/registry.revision=$(REVISION)
CA_CERTIFICATES ?= /etc/ssl/certs/ca-certificates.crt
IMAGE ?= oras-distribution/registry:$(VERSION)

# How long `make fuzz` runs each target (or how many inputs it tries: 20000x), and how long `make soak` runs.
FUZZTIME ?= 1m
SOAKTIME ?= 5m

# Separate modules below test/ with Go code, whose dependencies do not belong in the
# registry's go.mod. The tests build their programs.
MODULES := test/clients

# The packages with tests that need more than Go.
E2E := $(shell grep -rl --include='*_test.go' '^//go:build e2e' test | xargs -r -n1 dirname | sort -u | sed 's,^,./,')

# The packages that e2e tests with the race detector, and those that take too long for that.
RACE := ./extensions/... ./registry/... ./internal/... ./test/internal/harness ./test/access ./test/blackbox ./test/crash ./test/index ./test/replicas ./test/upgrade
RACE_LONG := ./test/conformance ./test/faults ./test/hostile

# The linters, pinned in tools/go.mod. $(1) is the path to the project's folder.
golangci = go tool -modfile=$(1)tools/go.mod golangci-lint

# Govulncheck and its database, pinned in a module that nothing else is built from.
VULNCHECK := tools/vulncheck/go.mod

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/registry, static
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/registry ./cmd/registry

.PHONY: run
run: build ## start a registry on 127.0.0.1:5000 that stores in ./registry-data
	exec bin/registry serve

.PHONY: test
test: ## run all tests that need only Go (the walkthrough also: bash, curl, jq, openssl)
	go test -timeout 30m ./test/internal/pinned # builds the clients, which takes minutes the first time
	go test -timeout 20m ./...
	$(MAKE) --no-print-directory fuzz FUZZTIME=20000x

.PHONY: e2e
e2e: ## run the tests that need Debian and npm packages; as root, installs them
	test/e2e/install
	CGO_ENABLED=1 go test -race -timeout 20m $(RACE) # needs a C compiler
	PATH=$$PWD/test/e2e/node_modules/.bin:$$PATH go test -timeout 20m -tags e2e $(E2E)

.PHONY: race
race: ## run all tests of our code with the race detector, in the tests and in the registries that they start
	test/e2e/install
	CGO_ENABLED=1 go test -race -timeout 60m $(RACE) $(RACE_LONG)
	CGO_ENABLED=1 go test -race -timeout 60m -tags e2e ./test/backends -backends.everywhere

.PHONY: lint
lint: vulncheck ## run the linters, check formatting and known vulnerabilities
	$(call golangci,) run
	for module in $(MODULES); do (cd $$module; pwd; $(call golangci,../../) run --config ../../.golangci.yml); done

.PHONY: vulncheck
vulncheck: ## check for known vulnerabilities that docs/vulnerabilities.md does not explain
	go mod download -modfile=$(VULNCHECK) golang.org/x/vulndb
	database=$$(go list -modfile=$(VULNCHECK) -m -f '{{.Dir}}' golang.org/x/vulndb); \
	go tool -modfile=$(VULNCHECK) govulncheck -db "file://$$database/data/osv" -format json ./cmd/... | \
		go run ./test/vulnerabilities "$$(go list -m -f '{{.GoVersion}}')" docs/vulnerabilities.md

.PHONY: format
format: ## format all Go files as lint expects them
	$(call golangci,) fmt
	for module in $(MODULES); do (cd $$module; $(call golangci,../../) fmt --config ../../.golangci.yml); done

.PHONY: demo
demo: build ## run README's walkthrough against a registry of its own (WITH=docker: with its docker part)
	test/demo/walkthrough bin/registry $(or $(WITH),curl)

.PHONY: bench
bench: ## run the benchmarks, and print a table of the comparisons
	go test -timeout 60m -run '^$$' -bench . -benchmem $$(grep -rl --include='*_test.go' '^func Benchmark' . | xargs -r -n1 dirname | sort -u) | go run ./test/bench/table

.PHONY: fuzz
fuzz: ## fuzz every target for FUZZTIME (1m)
	grep -ro --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | while IFS=: read -r file name; do \
		go test -run '^$$' -fuzz "^$${name#func }$$" -fuzztime $(FUZZTIME) $$(dirname $$file) </dev/null; \
	done

.PHONY: soak
soak: ## put the binary under mixed load for SOAKTIME (5m)
	SOAK_TIME=$(SOAKTIME) go test -count=1 -timeout 0 -tags soak -run Soak -v ./test/...

.PHONY: rootfs
rootfs: build # the file system of the container image, below dist/
	rm -rf dist/rootfs dist/data
	install -D -m 0755 bin/registry dist/rootfs/bin/registry
	install -D -m 0644 docker/config.yml dist/rootfs/etc/distribution/config.yml
	install -D -m 0644 $(CA_CERTIFICATES) dist/rootfs/etc/ssl/certs/ca-certificates.crt
	install -d -m 0755 dist/data

.PHONY: image
image: ## build the container image; pulls the Go image
	docker build --build-arg VERSION=$(VERSION) -t $(IMAGE) .

.PHONY: image-local
image-local: rootfs ## build the container image from a binary built here; pulls nothing
	docker build --target local -t $(IMAGE) .

.PHONY: clean
clean: ## remove what was built
	rm -rf bin dist
