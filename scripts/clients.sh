#!/bin/sh
# Install the JavaScript clients that some tests drive, and what builds our own, where there is
# npm; once per lock file.
set -eu
cd "$(dirname "$0")/.."

for package in tests/clients clients/js; do
    lock=$package/package-lock.json
    installed=$package/node_modules/installed-package-lock.json
    if [ ! -f "$lock" ] || cmp -s "$lock" "$installed"; then
        continue
    fi
    if ! command -v npm >/dev/null 2>&1; then
        echo 'There is no npm here: the tests of JavaScript clients will be skipped.' >&2
        exit 0
    fi
    echo "Installing the JavaScript packages of $package, this once ..." >&2
    # A cache of our own: with a read-only home npm would install nothing and not say so.
    npm_config_cache="$PWD/.npm-cache" npm ci --prefix "$package" \
        --ignore-scripts --no-audit --no-fund --loglevel=error
    cp "$lock" "$installed"
done
