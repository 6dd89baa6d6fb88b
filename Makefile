# hookmux: `make help` lists what there is.

GO      ?= go
TOOL    := $(GO) tool -modfile=.tools/go.mod
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BIN     := bin
# The demo needs these; a newcomer should not wait for the drivers of all databases.
DEMO     := ./cmd/hookmux ./examples/go/login ./examples/go/topics ./examples/go/presence
PROGRAMS := $(DEMO) ./examples/go/every-hook ./examples/go/minimal $(patsubst %/main.go,./%,$(wildcard plugins/*/main.go))
COMPILE  := CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN)/

# The race detector needs a C compiler; without one the tests run all the same.
HAVE_CC := $(shell command -v $$($(GO) env CC) >/dev/null 2>&1 && echo yes)
RACE    ?= $(if $(HAVE_CC),-race)

# A lane is a language beside Go whose plugins/sdk/NAME/lane.mk (or, for the browser,
# mux/admin/page/lane.mk) has these targets:
#   lane-NAME   install what its tests need to $(call lane-dir,NAME), and end with
#               a file "ready" there
#   check-NAME  lint, types, and whether its generated code is stale
#   test-NAME   the SDK's own tests, and those of the examples in the language
#   sdk-NAME    build its package into ./dist, with the version $(VERSION)
# mux/muxtest/lanes says which of them can run here.
LANE     := $(GO) run ./mux/muxtest/lanes/lane
LANES    := $(patsubst plugins/sdk/%/lane.mk,%,$(wildcard plugins/sdk/*/lane.mk)) browser
DIST     := dist
lane-dir  = $(shell $(LANE) dir $(1))
# $(call each-lane,TARGET) makes TARGET-NAME of every lane that is there; the others are named.
each-lane = @ready=$$($(LANE) ready $(LANES)) && for l in $$ready; do $(MAKE) --no-print-directory $(1)-$$l || exit 1; done

.DEFAULT_GOAL := build
.PHONY: help build demo fleet test bench bench-e2e lint generate check-generated clean lanes check-lanes sdk

help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build hookmux, the plugins and the example plugins into ./bin
	@mkdir -p $(BIN)
	$(COMPILE) $(PROGRAMS)

demo: ## See it work: a broker, hookmux, three plugins (ARGS=--once to end by itself)
	@mkdir -p $(BIN)
	$(COMPILE) $(DEMO)
	$(BIN)/hookmux demo $(ARGS)

fleet: build ## A thousand devices with logins, rules, presence and messages in SQLite (ARGS="--devices 100")
	$(GO) run ./examples/fleet $(ARGS)

test: ## Run every test; says which languages it left out (HOOKMUX_LANES=all: none may be)
	@$(if $(RACE),,echo "left out: the race detector, which needs a C compiler (install gcc to have it)")
	$(GO) vet ./...
	$(GO) test $(RACE) -timeout 15m ./...
	$(call each-lane,test)

lanes: $(addprefix lane-,$(LANES)) lane-kafka lane-deploy ## Install what the tests of the other languages, and of forward-kafka, need, outside of this folder

check-lanes: ## Lint, types and generated code of the other languages
	$(call each-lane,check)

sdk: $(addprefix sdk-,$(LANES)) ## Build the SDKs' packages into ./dist

bench: ## Package benchmarks, in benchstat's format
	$(GO) test -run '^$$' -bench . -benchmem -count 6 ./...

bench-e2e: build ## Measure with real processes what hookmux costs (ARGS="--only sync1_cpu"; hookmux bench --help)
	$(BIN)/hookmux bench $(ARGS)

lint: ## Lint Go and proto
	$(TOOL) golangci-lint run ./...
	cd proto && $(GO) tool -modfile=../.tools/go.mod buf lint
	cd proto && $(GO) tool -modfile=../.tools/go.mod buf format --diff --exit-code

generate: ## Write the Go code of the .proto files anew, and the table of all keys
	cd proto && $(GO) tool -modfile=../.tools/go.mod buf generate
	$(GO) test ./mux/config -run '^TestOptionsTable$$' -update

check-generated: generate ## Fail when generated code is stale
	@git diff --exit-code -- proto mux/config/README.md || { echo "generated code is stale: run 'make generate' and commit"; exit 1; }
	@test -z "$$(git status --porcelain -- proto)" || { git status --short -- proto; echo "generated files are not committed"; exit 1; }

clean: ## Remove what make made
	rm -rf $(BIN) $(DIST)

include $(wildcard plugins/sdk/*/lane.mk) mux/admin/page/lane.mk mux/muxtest/targets/kafka/lane.mk deploy/lane.mk
