# The Node lane; the Makefile at the root says what a lane is.
NODE_SDK := plugins/sdk/node

.PHONY: lane-node link-node check-node test-node sdk-node

lane-node:
	@dir="$$($(LANE) dir node)" || exit 1; [ -e "$$dir/ready" ] || { \
	rm -rf "$$dir" && mkdir -p "$$dir" && cp $(NODE_SDK)/package.json $(NODE_SDK)/package-lock.json $(NODE_SDK)/.npmrc "$$dir" && \
	(cd "$$dir" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) && touch "$$dir/ready"; }
	@$(MAKE) --no-print-directory link-node

# Where Node looks for what is imported: the lane's packages, and for the examples the SDK.
link-node:
	@ln -sfn "$$($(LANE) dir node)/node_modules" $(NODE_SDK)/node_modules
	@mkdir -p examples/node/node_modules/@hookmux && ln -sfn ../../../../$(NODE_SDK) examples/node/node_modules/@hookmux/sdk

check-node: link-node
	cd $(NODE_SDK) && npm run --silent check

test-node: link-node
	cd $(NODE_SDK) && npm run --silent test
	cd examples/node && node --test --test-timeout=60000 */*.test.js

sdk-node:
	@mkdir -p $(DIST)
	@dir="$$(mktemp -d)" && trap 'rm -rf "$$dir"' EXIT && \
	cp -r $(NODE_SDK)/package.json $(NODE_SDK)/README.md LICENSE $(NODE_SDK)/src "$$dir" && \
	version="$$(node $(NODE_SDK)/tools/version.js '$(VERSION)')" && \
	sed -i.was "s/\"version\": \"0.0.0\"/\"version\": \"$$version\"/" "$$dir/package.json" && \
	npm pack --silent --pack-destination $(DIST) "$$dir" >/dev/null && ls "$(DIST)/hookmux-sdk-$$version.tgz"
