# The lane of the page's tests: Node drives a real browser. The Makefile at the root says
# what a lane is.
PAGE := mux/admin/page

.PHONY: lane-browser check-browser test-browser sdk-browser

lane-browser:
	@dir="$$($(LANE) dir browser)" || exit 1; [ -e "$$dir/ready" ] || { \
	rm -rf "$$dir" && mkdir -p "$$dir" && cp $(PAGE)/package.json $(PAGE)/package-lock.json $(PAGE)/.npmrc "$$dir" && \
	(cd "$$dir" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) && touch "$$dir/ready"; }

check-browser:
	@cd $(PAGE) && for f in static/*.js browser/*.js; do case $$f in */theme.js) ;; *) node --check $$f || exit 1;; esac; done

# What needs no browser. What does is run by the Go tests of the package, which have
# a hookmux for it.
test-browser:
	cd $(PAGE) && node --test --test-timeout=60000 browser/*.unit.test.js

sdk-browser: ;
