# make          builds everything: the udiImage tree and the command line
# make demo     runs a three-node job whose script hops between its nodes
# make test     all tests, against real engines; make check: types, lint, layers, unit tests
# make bench    the measurements; make soak: what is long
# Each target installs what it needs (as root), or says exactly what is missing.

SHELL := /bin/bash
OUT := $(CURDIR)/build/udiImage
MODULES := node_modules/.package-lock.json
BUNDLE := dist/gangway.cjs

.PHONY: all udi bundle check test demo bench soak clean fmt

all: udi bundle

# Not `npm ci`: where a registry lacks the packages of other platforms, it refuses the lock file that npm itself made there.
$(MODULES): package.json package-lock.json
	@npm install --no-save --no-progress --loglevel=error >/dev/null
	@touch $@

bundle: $(BUNDLE)

$(BUNDLE): $(MODULES) scripts/bundle.mjs scripts/entry.cjs package.json $(shell find src -name '*.ts')
	@node scripts/bundle.mjs
	@touch $@

udi:
	@scripts/setup.sh build
	@$(MAKE) --no-print-directory -C udiImage OUT=$(OUT)

check: $(MODULES)
	@npx tsc -p .
	@npx biome check .
	@npx eslint src test bench
	@node scripts/check-layers.mjs
	@npx vitest run --project unit $(VITEST_FLAGS)

fmt: $(MODULES)
	@npx biome check --write .

test demo bench soak: udi bundle
	@scripts/$@.sh

clean:
	rm -rf build dist node_modules
