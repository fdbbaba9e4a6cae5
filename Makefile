# Versions of the tools that are built into .cache/, once each.
GOLANGCI_LINT_VERSION := v2.15.0
GOFUMPT_VERSION       := v0.12.0

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
FUZZTIME ?= 30s

TOOLS         := $(CURDIR)/.cache/bin
GOLANGCI_LINT := $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)
GOFUMPT       := $(TOOLS)/gofumpt-$(GOFUMPT_VERSION)

# What is played against every PostgreSQL: the promises between two tenants, of the
# seal and of the audit, and that PostgreSQL's answers are passed as they are. What
# needs pg_dump or pg_basebackup runs with the installed version only.
MATRIX       ?= 15 16 17 18
MATRIX_FILES := isolation escape own_tenant parity seal seal_* audit audit_* harness_self
MATRIX_TESTS  = $$(cd integration && sed -n 's/^func \(Test[A-Za-z0-9]*\)(.*/\1/p' $(MATRIX_FILES:%=%_test.go) | paste -sd '|')
MATRIX_SKIP  := DumpAndRestore|Standby

.PHONY: help build test matrix lint demo bench microbench fuzz oracle clients

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build ./tenantgate, a static binary
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o tenantgate ./cmd/tenantgate

test: ## install what the tests need, lint, and run every test with the race detector
	integration/install.sh
	$(MAKE) --no-print-directory lint
	go vet ./...
	CGO_ENABLED=1 go test -race -timeout 15m $$(go list ./... | grep -v '/integration$$')
	@$(MAKE) --no-print-directory -j2 integration-0 integration-1

# The tests of integration/ wait for most of their time, so two halves run at once. They build the
# proxy themselves: a result that go test has kept may be of another one.
HALF = $$(go test -list '^Test' ./integration/ | awk '/^Test/ && NR % 2 == $* { printf "%s%s", sep, $$0; sep = "|" }')

integration-%:
	@CGO_ENABLED=1 go test -race -count=1 -timeout 15m ./integration/ -run "^($(HALF))\$$"

matrix: ## run the tests of isolation against each PostgreSQL of MATRIX (15 16 17 18)
	integration/install.sh servers
	@set -e; for version in $(MATRIX); do \
		echo "PostgreSQL $$version"; \
		CGO_ENABLED=1 go test -race -timeout 10m -count=1 ./integration/ -run "^($(MATRIX_TESTS))\$$" -skip '$(MATRIX_SKIP)' -postgres $$version -load 20s; \
	done

lint: $(GOLANGCI_LINT) $(GOFUMPT) ## check the format and the code
	@unformatted=$$($(GOFUMPT) -l .); \
	if [ -n "$$unformatted" ]; then echo "not formatted, run $(GOFUMPT) -w on:" >&2; echo "$$unformatted" >&2; exit 1; fi
	$(GOLANGCI_LINT) run ./...

demo: build ## start a throw-away PostgreSQL with two tenants and the proxy in front of it
	@integration/install.sh server
	@./tenantgate demo

bench: build ## measure beside PgBouncer, about seven minutes; BENCH='-work simple:8' does some of it, BENCH=-h says how
	@integration/install.sh server
	@CGO_ENABLED=0 go run ./integration/bench $(BENCH)

microbench: ## run the micro benchmarks
	go test -run '^$$' -bench . -benchmem ./wire/ ./auth/ ./session/

fuzz: ## fuzz every target for FUZZTIME (30s)
	@set -e; for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' "$$package" | grep '^Fuzz' || true); do \
			echo "$$package $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package"; \
		done; \
	done

clients: ## install drivers and object mappers of Python, Ruby, Node and Java, and run their ordinary work in both pool modes
	integration/install.sh clients
	go test -tags clients -count 1 -v -run 'ObjectMappers|MoreDrivers' ./integration/

oracle: ## hold the lexer and the guard against PostgreSQL's own scanner and parser, which are built first (cgo, minutes)
	cd integration/oracle && CGO_ENABLED=1 go build -o $(TOOLS)/oracle .
	go vet -tags oracle ./session/
	ORACLE=$(TOOLS)/oracle go test -tags oracle -count 1 -v -run 'PostgreSQLReads|SetsNothingReserved' ./session/

$(TOOLS)/golangci-lint-%:
	GOBIN=$(TOOLS) CGO_ENABLED=0 go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$*
	mv $(TOOLS)/golangci-lint $@

$(TOOLS)/gofumpt-%:
	GOBIN=$(TOOLS) CGO_ENABLED=0 go install mvdan.cc/gofumpt@$*
	mv $(TOOLS)/gofumpt $@
