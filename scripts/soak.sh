#!/bin/bash
# What takes long: 1 GiB transfers, hundreds of launches, OpenSSH's own regression tests against our build.
set -eu
cd "$(dirname "$0")/.."
. scripts/test-engines.sh
npx vitest run --project soak
udiImage/regress.sh
