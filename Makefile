# hookmux: `make help` lists what there is.

GO      ?= go
TOOL    := $(GO) tool -modfile=.tools/go.mod
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BIN     := bin
PROGRAMS := ./cmd/hookmux ./examples/go/minimal ./examples/go/login ./examples/go/topics ./examples/go/presence

# The race detector needs a C compiler; without one the tests run all the same.
HAVE_CC := $(shell command -v $$($(GO) env CC) >/dev/null 2>&1 && echo yes)
RACE    ?= $(if $(HAVE_CC),-race)

.DEFAULT_GOAL := build
.PHONY: help build demo test bench bench-e2e lint generate check-generated clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build hookmux and the example plugins into ./bin
	@mkdir -p $(BIN)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN)/ $(PROGRAMS)

demo: build ## See it work: a broker, hookmux, three plugins (ARGS=--once to end by itself)
	$(BIN)/hookmux demo $(ARGS)

test: ## Run every test
	@$(if $(RACE),,echo "left out: the race detector, which needs a C compiler (install gcc to have it)")
	$(GO) vet ./...
	$(GO) test $(RACE) -timeout 10m ./...

bench: ## Package benchmarks, in benchstat's format
	$(GO) test -run '^$$' -bench . -benchmem -count 6 ./...

bench-e2e: build ## Measure with real processes what hookmux costs (ARGS="--only sync1_cpu"; hookmux bench --help)
	$(BIN)/hookmux bench $(ARGS)

lint: ## Lint Go and proto
	$(TOOL) golangci-lint run ./...
	cd proto && $(GO) tool -modfile=../.tools/go.mod buf lint
	cd proto && $(GO) tool -modfile=../.tools/go.mod buf format --diff --exit-code

generate: ## Write the Go code of the .proto files anew
	cd proto && $(GO) tool -modfile=../.tools/go.mod buf generate

check-generated: generate ## Fail when generated code is stale
	@git diff --exit-code -- proto || { echo "generated code is stale: run 'make generate' and commit"; exit 1; }
	@test -z "$$(git status --porcelain -- proto)" || { git status --short -- proto; echo "generated files are not committed"; exit 1; }

clean: ## Remove what make made
	rm -rf $(BIN)
