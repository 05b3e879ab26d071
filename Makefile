# Two commands do it all on a fresh Debian 12 machine, as root: make demo, make test.
# Each installs what it lacks. make help lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO      ?= go
VERSION ?= $(shell git describe --always --dirty --tags 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X github.com/snapline/snapline/cli.version=$(VERSION)
BIN     := bin/snapline

.PHONY: help build package package-if-possible s3 demo test test-fast soak chaos model bench generate generate-check lint deps deps-generate clean

help: ## show this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

build: ## build bin/snapline, and the program that the lab's guests run
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/snapline
	CGO_ENABLED=0 GOAMD64=v1 $(GO) build -trimpath -buildvcs=false -ldflags '-s -w -buildid=' -o bin/snapline-bank ./lab/guest/bank

deps: ## install the Debian packages that the lab and the tests need
	@scripts/deps qemu-system-x86 qemu-utils iproute2 nftables cpio zstd util-linux xz-utils e2fsprogs b3sum openssl xxd \
		systemd-container restic borgbackup spin gcc libc6-dev tshark chromium fonts-dejavu-core
	@command -v node >/dev/null && command -v npm >/dev/null || scripts/deps nodejs npm
	@[ web/node_modules/.package-lock.json -nt web/package-lock.json ] || (cd web && npm ci --no-audit --no-fund)

deps-generate:
	@scripts/deps clang llvm
	@command -v node >/dev/null && command -v npm >/dev/null || scripts/deps nodejs npm

# A version that Debian orders: a tag's, or before all of them, by date.
DEB_VERSION ?= $(shell git describe --tags --match 'v[0-9]*' 2>/dev/null | sed 's/^v//; s/-/+/g' | grep . || \
	git log -1 --format='0~git%cd.%h' --date=format:%Y%m%d%H%M 2>/dev/null || echo 0~unknown)
DEB_EPOCH   ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
DEB_FILE    := out/snapline.deb

package: build ## build out/snapline.deb: units, manual pages, completions, example settings
	GOFLAGS=-mod=mod $(GO) run -C tools/package . -out $(CURDIR)/out/package -epoch $(DEB_EPOCH)
	GOFLAGS=-mod=mod $(GO) build -C tools/package -o $(CURDIR)/out/nfpm github.com/goreleaser/nfpm/v2/cmd/nfpm
	ARCH=$(shell $(GO) env GOARCH) DEB_VERSION='$(DEB_VERSION)' SOURCE_DATE_EPOCH=$(DEB_EPOCH) \
		out/nfpm package -f packaging/nfpm.yaml -p deb -t $(DEB_FILE)

demo: deps build ## snapshot, kill and restore a real etcd cluster on three hosts of one machine
	$(GO) run ./demo

# What only computes may share the processors; what runs machines, or waits for
# deadlines, gets them for itself.
COMPUTING := ./evidence/... ./groupfile/... ./model/... ./protocol/...

test: deps build package-if-possible ## every test, those on real virtual machines too
	$(GO) vet ./...
	$(GO) test -timeout 25m -p 2 $(COMPUTING)
	$(GO) test -timeout 25m -p 1 $$($(GO) list ./... | grep -vxFf <($(GO) list $(COMPUTING)))

# Without it one test is skipped, and says so.
package-if-possible:
	@$(MAKE) --no-print-directory package || echo "no package: the packager's modules cannot be had"

test-fast: ## only what needs no virtual machine
	$(GO) test -short ./...

soak: ## a million seeded histories, twenty thousand with real TCP, and the explorer's largest spaces
	$(GO) test ./protocol/sim -run 'TestHistories$$' -timeout 0 -histories 1000000
	$(GO) test ./protocol/tcpsim -run 'TestStreams$$' -timeout 0 -v -histories 20000
	$(GO) test ./protocol/explore -run 'TestDeep' -timeout 0 -v -deep 5000000

MINUTES ?= 10
SEED    ?= 1

chaos: deps build ## kill, freeze, cut off and fill up the lab for MINUTES=10, drawn from SEED=1; writes out/chaos.json
	$(GO) run ./chaos -minutes $(MINUTES) -seed $(SEED)

model: deps ## explore the protocol's models with Spin, the large ones too
	$(GO) run ./model/check

bench: deps build ## measure beside savevm and stop + migrate; writes out/bench.json
	$(GO) run ./bench

s3: ## build bin/versitygw, an S3 server for "snapline lab up --s3"
	$(GO) build -C tools/versitygw -ldflags '-s -w' -o $(CURDIR)/bin/versitygw github.com/versity/versitygw/cmd/versitygw

generate: deps-generate ## compile the eBPF programs and the diagram's page again
	$(GO) generate ./bpf
	cd web && npm run generate

generate-check: generate
	git diff --exit-code --stat -- bpf diagram/page.html

lint: ## formatting and vet
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run gofmt -w on these"; exit 1; }
	$(GO) vet ./...

clean: ## remove what was built
	rm -rf bin out
