# What checks the files in deploy, and builds releases; the Makefile at the root says what a lane is.
.PHONY: lane-deploy check-deploy install install-bin install-units release

lane-deploy:
	@dir="$$($(LANE) dir deploy)" || exit 1; [ -e "$$dir/ready" ] || { \
	rm -rf "$$dir" && python3 -m venv "$$dir" && \
	"$$dir/bin/pip" install --quiet --requirement deploy/tools/requirements.txt && \
	(cd deploy/tools && $(GO) build -o "$$dir/bin/" tool) && mv "$$dir/bin/cmd" "$$dir/bin/compose" && touch "$$dir/ready"; }

check-deploy: lane-deploy ## Check what is in deploy with the tools of each kind, and that releases are reproducible
	HOOKMUX_RELEASE=$(or $(HOOKMUX_RELEASE),all) $(GO) test -timeout 30m ./deploy/...

# The plugins that we ship.
PLUGINS := $(patsubst %/main.go,./%,$(wildcard plugins/*/main.go))
PREFIX  ?= /usr
BUILD   := CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'

install-bin: ## Build and install hookmux and the shipped plugins (DESTDIR=, PREFIX=/usr)
	@mkdir -p $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/hookmux
	$(BUILD) -o $(DESTDIR)$(PREFIX)/bin/ ./cmd/hookmux
	$(BUILD) -o $(DESTDIR)$(PREFIX)/lib/hookmux/ $(PLUGINS)

install: install-bin install-units ## The same, with the units of systemd

install-units:
	install -D -m 644 deploy/systemd/hookmux.service $(DESTDIR)/usr/lib/systemd/system/hookmux.service
	install -D -m 644 deploy/systemd/hookmux.sysusers $(DESTDIR)/usr/lib/sysusers.d/hookmux.conf
	install -D -m 644 deploy/systemd/emqx.conf $(DESTDIR)/usr/lib/systemd/system/emqx.service.d/hookmux.conf
	install -d $(DESTDIR)/etc/hookmux

release: ## Build what is published into ./dist: archives for each target, bills of materials, checksums
	$(GO) run ./deploy/release -version $(VERSION) -dist $(DIST) $(if $(TARGETS),-targets $(TARGETS))
