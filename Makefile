# make          builds everything: the udiImage tree and the command line
# make demo     runs a three-node job whose script hops between its nodes
# make test     all tests, against real engines; make check: types, lint, layers, unit tests
# make package  build/gangway-VERSION.tgz, for npm install --global
# make bench    the measurements; make soak: what is long, and what the tests try in part with everything (decision 13)
# Each target installs what it needs (as root), or says exactly what is missing.

SHELL := /bin/bash
OUT := $(CURDIR)/build/udiImage
MODULES := node_modules/.package-lock.json
BUNDLE := dist/gangway.cjs

.PHONY: all udi bundle package check check-types check-format check-lint check-layers check-unit test demo bench soak clean fmt

all: udi bundle

# Not `npm ci`: where a registry lacks the packages of other platforms, it refuses the lock file that npm itself made there.
$(MODULES): package.json package-lock.json
	@npm install --no-save --no-progress --loglevel=error >/dev/null
	@touch $@

bundle: $(BUNDLE)

$(BUNDLE): $(MODULES) scripts/bundle.mjs scripts/entry.cjs package.json $(shell find src -name '*.ts')
	@node scripts/bundle.mjs
	@touch $@

# For npm, which keeps no links: links, modes and nothing of this machine's or of the time.
build/udiImage.tar.gz: $(OUT)/manifest.json
	@tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C build -cf - udiImage | gzip -9n >$@.new
	@mv $@.new $@

# What `npm install --global` takes, on a machine without compilers.
package: udi bundle
	@$(MAKE) --no-print-directory build/udiImage.tar.gz
	@npm pack --silent --pack-destination build

udi:
	@scripts/setup.sh build
	@$(MAKE) --no-print-directory -C udiImage OUT=$(OUT)

# Side by side, each with its output in one piece: eslint alone takes half as long as the tests.
check: $(MODULES)
	@$(MAKE) --no-print-directory --jobs --output-sync=target check-types check-format check-lint check-layers check-unit

check-types:
	@npx tsc -p .

check-format:
	@npx biome check .

check-lint:
	@npx eslint src test bench

check-layers:
	@node scripts/check-layers.mjs

check-unit:
	@npx vitest run --project unit $(VITEST_FLAGS)

fmt: $(MODULES)
	@npx biome check --write .

test demo bench soak: udi bundle
	@scripts/$@.sh

clean:
	rm -rf build dist node_modules
