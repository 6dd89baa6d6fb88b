# The Python lane; the Makefile at the root says what a lane is.
PY_SDK := plugins/sdk/python

.PHONY: lane-python check-python test-python sdk-python

lane-python:
	@dir="$$($(LANE) dir python)" || exit 1; [ -e "$$dir/ready" ] || { \
	rm -rf "$$dir" && python3 -m venv "$$dir" && \
	"$$dir/bin/pip" install --quiet --requirement $(PY_SDK)/requirements-dev.txt && touch "$$dir/ready"; }

check-python test-python sdk-python:
