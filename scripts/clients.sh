#!/bin/sh
# Install the JavaScript clients that some tests drive, where there is npm; once per lock file.
set -eu
cd "$(dirname "$0")/.."
lock=tests/clients/package-lock.json
installed=tests/clients/node_modules/installed-package-lock.json

if [ ! -f "$lock" ] || cmp -s "$lock" "$installed"; then
    exit 0
fi
if ! command -v npm >/dev/null 2>&1; then
    echo 'There is no npm here: the tests of JavaScript clients will be skipped.' >&2
    exit 0
fi
echo 'Installing the JavaScript clients of the tests, this once ...' >&2
# A cache of our own: with a read-only home npm would install nothing and not say so.
npm_config_cache="$PWD/.npm-cache" npm ci --prefix tests/clients \
    --ignore-scripts --no-audit --no-fund --loglevel=error
cp "$lock" "$installed"
