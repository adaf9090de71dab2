# `make` lists the targets. All except e2e, race, image and image-local need only Go.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
PACKAGE := github.com/oras-distribution/registry
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS = -s -w -X $(PACKAGE)/registry.version=$(VERSION) -X $(PACKAGE)/registry.revision=$(REVISION)

# What `make release` builds for, and the time of its files.
PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

# The container image: its name, the command that builds it, the architecture of its binary,
# more options for it (--platform, --build-arg), and the labels that Dockerfile cannot know.
IMAGE ?= oras-distribution/registry:$(VERSION)
DOCKER ?= docker
IMAGE_FLAGS ?=
ARCH ?= $(shell go env GOARCH)
CREATED ?= $(shell TZ=UTC0 git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null || echo unknown)
label = $(if $(filter-out unknown,$(2)),--label org.opencontainers.image.$(1)=$(2))
LABELS = $(call label,version,$(VERSION)) $(call label,revision,$(REVISION)) $(call label,created,$(CREATED))
BINARY := bin/registry
ROOTFS = dist/image/rootfs/$(ARCH)
CA_CERTIFICATES ?= /etc/ssl/certs/ca-certificates.crt

# How long `make fuzz` runs each target (or how many inputs it tries: 20000x), and how long `make soak` runs.
FUZZTIME ?= 1m
SOAKTIME ?= 5m

# Separate modules below test/ with Go code, whose dependencies do not belong in the
# registry's go.mod. The tests build their programs.
MODULES := test/clients test/deploy/tools

# The packages with tests that need more than Go, or programs that take minutes to build.
E2E = $(shell grep -rl --include='*_test.go' '^//go:build e2e' test | grep -v /pinned/ | xargs -r -n1 dirname | sort -u | sed 's,^,./,')

# The packages that e2e tests with the race detector, and those that take too long for that.
RACE := ./extensions/... ./registry/... ./internal/... ./test/internal/harness ./test/access ./test/blackbox ./test/crash ./test/index ./test/mirror ./test/replicas ./test/upgrade
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
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o $(BINARY) ./cmd/registry

.PHONY: run
run: build ## start a registry on 127.0.0.1:5000 that stores in ./registry-data
	exec bin/registry serve

.PHONY: test
test: ## run all tests that need only Go (those of the documents also: bash, curl, jq, openssl)
	go test -timeout 20m ./...

.PHONY: e2e
e2e: ## run the tests that need other programs, and the longest ones; as root, installs Debian and npm packages
	test/e2e/install
	go test -timeout 30m -tags e2e ./test/internal/pinned # builds the clients, which takes minutes the first time
	CGO_ENABLED=1 go test -race -timeout 20m $(RACE) # needs a C compiler
	PATH=$$PWD/test/e2e/node_modules/.bin:$$PATH go test -p 1 -timeout 30m -tags e2e $(E2E)
	go test ./internal/collection -run Schedules -collection.schedules 2000
	$(MAKE) --no-print-directory fuzz FUZZTIME=20000x

.PHONY: race
race: ## run all tests of our code with the race detector, in the tests and in the registries that they start
	test/e2e/install
	CGO_ENABLED=1 go test -race -timeout 60m $(RACE) $(RACE_LONG)
	CGO_ENABLED=1 go test -race -timeout 60m -tags e2e ./test/backends -backends.everywhere

.PHONY: lint
lint: vulncheck ## run the linters, check formatting and known vulnerabilities
	$(call golangci,) run
	root=$$PWD; for module in $(MODULES); do (cd $$module; pwd; $(call golangci,$$root/) run --config $$root/.golangci.yml); done

.PHONY: vulncheck
vulncheck: ## check for known vulnerabilities that docs/vulnerabilities.md does not explain
	go mod download -modfile=$(VULNCHECK) golang.org/x/vulndb
	database=$$(go list -modfile=$(VULNCHECK) -m -f '{{.Dir}}' golang.org/x/vulndb); \
	go tool -modfile=$(VULNCHECK) govulncheck -db "file://$$database/data/osv" -format json ./cmd/... | \
		go run ./test/vulnerabilities "$$(go list -m -f '{{.GoVersion}}')" docs/vulnerabilities.md

.PHONY: format
format: ## format all Go files as lint expects them
	$(call golangci,) fmt
	root=$$PWD; for module in $(MODULES); do (cd $$module; $(call golangci,$$root/) fmt --config $$root/.golangci.yml); done

.PHONY: demo
demo: build ## run docs/walkthrough.md against a registry of its own (WITH=docker: with its docker part)
	test/demo/walkthrough bin/registry $(or $(WITH),curl)

.PHONY: bench
bench: build ## compare the binary with distribution's and with a bare server, and print the table of docs/performance.md
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/stock github.com/distribution/distribution/v3/cmd/registry
	go build -o bin/bench ./test/bench
	bin/bench $(BENCH)

.PHONY: atsize
atsize: build ## measure the registry over large trees on the disk, which takes an hour and 6 GB
	go build -o bin/atsize ./test/atsize
	bin/atsize -repositories 1 -manifests 200000
	bin/atsize -repositories 10000 -manifests 100

.PHONY: fuzz
fuzz: ## fuzz every target for FUZZTIME (1m)
	grep -ro --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | while IFS=: read -r file name; do \
		go test -run '^$$' -fuzz "^$${name#func }$$" -fuzztime $(FUZZTIME) $$(dirname $$file) </dev/null; \
	done

.PHONY: soak
soak: ## put the binary under mixed load for SOAKTIME (5m)
	SOAK_TIME=$(SOAKTIME) go test -count=1 -timeout 0 -tags soak -run Soak -v ./test/...

.PHONY: rootfs
rootfs: # the files of the container image, below dist/image/
	rm -rf $(ROOTFS)
	GOOS=linux GOARCH=$(ARCH) $(MAKE) --no-print-directory build BINARY=$(ROOTFS)/bin/registry
	mkdir -p $(ROOTFS)/etc/distribution $(ROOTFS)/etc/ssl/certs dist/image/data
	install -m 0644 docker/config.yml $(ROOTFS)/etc/distribution/config.yml
	install -m 0644 $(CA_CERTIFICATES) $(ROOTFS)/etc/ssl/certs/ca-certificates.crt

.PHONY: image
image: ## build the container image; pulls the Go image
	$(DOCKER) build --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) $(LABELS) $(IMAGE_FLAGS) -t $(IMAGE) .

.PHONY: image-local
image-local: rootfs dist/image/Dockerfile ## build the container image from a binary built here; pulls nothing
	$(DOCKER) build --build-arg TARGETARCH=$(ARCH) $(LABELS) $(IMAGE_FLAGS) -t $(IMAGE) dist/image

# The last stage of Dockerfile, with the files of rootfs in place of those of its first stage.
dist/image/Dockerfile: Dockerfile
	mkdir -p dist/image
	sed -n '/^FROM scratch/,$$ { s, --from=build /src/dist/image/, ,; p; }' Dockerfile >$@

.PHONY: manifests
manifests: ## render deploy/kubernetes from the Helm chart
	cd test/deploy/tools && go build -o ../../../bin/deploy/chart ./chart
	test/deploy/manifests bin/deploy/chart deploy/kubernetes

.PHONY: release
release: ## build dist/release: binaries, SBOMs, checksums, and the image if buildx or podman can
	VERSION=$(VERSION) REVISION=$(REVISION) SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) PLATFORMS='$(PLATFORMS)' LABELS='$(LABELS)' tools/release

.PHONY: clean
clean: ## remove what was built
	rm -rf bin dist
