#!/bin/sh
# Bring .venv to what a lock file says; quick and silent when it is there already.
#
#     sh scripts/environment.sh requirements.lock | requirements-dev.lock
#
# What is installed is known by fingerprints of the lock's bytes, the Python and the path, written
# last. Never by file times: git sets those anew, and a venv breaks when its directory moves.
set -eu
cd "$(dirname "$0")/.."
lock=$1
python=.venv/bin/python
# No cache, since the home directory may be read-only.
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_USER=0

say() { printf '%s\n' "$*" >&2; }

runs() { "$@" >/dev/null 2>&1; }

# The first Python that really runs (a pyenv shim may be there and refuse), is new enough, and
# can make a venv.
choose_python() {
    without_venv=
    for candidate in python3.13 python3.12 python3.11 python3; do
        runs "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || continue
        if runs "$candidate" -c 'import ensurepip, venv'; then
            echo "$candidate"
            return
        fi
        without_venv=${without_venv:-$candidate}
    done
    if [ -n "$without_venv" ]; then
        say "$without_venv cannot make a virtual environment here. On Debian and Ubuntu: apt-get install python3-venv (for a Python that is not the system's: $without_venv-venv)"
    else
        say "Python 3.11 or newer is needed, and there is none. On Debian and Ubuntu: apt-get install python3 python3-venv"
    fi
    return 1
}

fingerprint() {
    "$python" -I -c '
import hashlib, sys
digest = hashlib.sha256(f"{sys.version}\0{sys.prefix}\0".encode())
for name in sys.argv[1:]:
    with open(name, "rb") as file:
        digest.update(file.read())
print(digest.hexdigest())' "$@" 2>/dev/null || echo broken
}

matches() { [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; }

# Another Python, another path or no pip: begin anew. A venv that somebody else made, we adopt.
fits() {
    runs "$python" -m pip --version || return 1
    [ ! -f .venv/made-for ] || matches .venv/made-for "$(fingerprint)"
}

if matches ".venv/installed-$lock" "$(fingerprint "$lock" pyproject.toml clients/python/pyproject.toml)"; then
    exit 0
fi

if ! fits; then
    chosen=$(choose_python)
    say "Creating .venv with $("$chosen" --version) ..."
    if ! "$chosen" -m venv --clear .venv; then
        say "No virtual environment could be made. On Debian and Ubuntu: apt-get install python3-venv"
        exit 1
    fi
fi
fingerprint >.venv/made-for

say "Installing $(grep -c '^[a-z]' "$lock") packages from $lock, this once ..."
"$python" -m pip install --quiet --require-hashes -r "$lock"
# The project itself, server and client, from here, without a network; what builds it is in the lock.
"$python" -m pip install --quiet --no-index --no-build-isolation --no-deps -e clients/python -e .

if [ "$lock" = requirements-dev.lock ]; then
    fingerprint requirements.lock pyproject.toml clients/python/pyproject.toml >.venv/installed-requirements.lock
fi
fingerprint "$lock" pyproject.toml clients/python/pyproject.toml >".venv/installed-$lock"
