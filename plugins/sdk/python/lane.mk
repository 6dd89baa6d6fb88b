# The Python lane; the Makefile at the root says what a lane is.
PY_SDK   := plugins/sdk/python
PY_DIR    = $(eval PY_DIR := $(call lane-dir,python))$(PY_DIR)
PY        = $(PY_DIR)/bin/python
PY_ALL   := plugins/sdk/python examples/python
PY_PROTO := $(PY_SDK)/src/hookmux/_proto
PY_GEN   := emqx/exhook/v3/exhook hookmux/plugin/v1/plugin

.PHONY: lane-python check-python test-python sdk-python generate-python

lane-python:
	@dir="$$($(LANE) dir python)" || exit 1; [ -e "$$dir/ready" ] || { \
	rm -rf "$$dir" && python3 -m venv "$$dir" && \
	"$$dir/bin/pip" install --quiet --requirement $(PY_SDK)/requirements-dev.txt && touch "$$dir/ready"; }

generate-python: ## Write the Python code of the .proto files anew
	@tmp="$$(mktemp -d)" && trap 'rm -rf "$$tmp"' EXIT && \
	$(PY) -m grpc_tools.protoc -I proto --python_out="$$tmp" --pyi_out="$$tmp" $(PY_GEN:=.proto) && \
	cp $(foreach f,$(PY_GEN),"$$tmp/$(f)_pb2.py" "$$tmp/$(f)_pb2.pyi") $(PY_PROTO)/

check-python: generate-python
	@git diff --exit-code -- $(PY_PROTO) || { echo "generated code is stale: run 'make generate-python' and commit"; exit 1; }
	@test -z "$$(git status --porcelain -- $(PY_PROTO))" || { echo "generated files are not committed"; exit 1; }
	$(PY) -m ruff check --config $(PY_SDK)/pyproject.toml $(PY_ALL)
	$(PY) -m ruff format --check --config $(PY_SDK)/pyproject.toml $(PY_ALL)
	MYPYPATH=$(PY_SDK)/src $(PY) -m mypy --config-file $(PY_SDK)/pyproject.toml $(PY_SDK)/src $(PY_SDK)/tests
	for d in examples/python/*/; do MYPYPATH=$(PY_SDK)/src $(PY) -m mypy --config-file $(PY_SDK)/pyproject.toml $$d || exit 1; done

test-python:
	cd $(PY_SDK) && $(PY) -m pytest
	for d in examples/python/*/; do (cd $$d && PYTHONPATH=$(CURDIR)/$(PY_SDK)/src $(PY) -m pytest -q -p no:cacheprovider) || exit 1; done

sdk-python:
	HOOKMUX_VERSION='$(VERSION)' $(PY) -m build --no-isolation --outdir $(DIST) $(PY_SDK) >/dev/null
	@ls $(DIST)/hookmux-*.whl $(DIST)/hookmux-*.tar.gz
