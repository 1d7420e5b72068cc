#!/usr/bin/env bash
# Makes .venv/ hold exactly what requirements/everything.txt locks. Every make target calls this first, so it
# returns at once when nothing has changed, and waits when another make is busy with it.
set -euo pipefail
cd "$(dirname "$0")/../.."

venv=.venv
lock=requirements/everything.txt
mkdir -p .local

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

recent_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    local name
    for name in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python3.14 /usr/bin/python3; do
        if command -v "$name" >/dev/null && recent_enough "$name"; then
            command -v "$name"
            return
        fi
    done
    return 1
}

as_root() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

apt_install() {
    say "Installing Debian packages: $*"
    local wait="DPkg::Lock::Timeout=600" said=.local/apt.log
    apt-get -o "$wait" update -qq >"$said" 2>&1 || true
    DEBIAN_FRONTEND=noninteractive apt-get -o "$wait" install -y -qq --no-install-recommends "$@" >>"$said" 2>&1 ||
        { tail -n 20 "$said" >&2 && return 1; }
}

# The machine's constraints are meant for other work; the lock with its hashes is stricter than they are.
pip_install() {
    PIP_CONSTRAINT=/dev/null PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_REQUIRE_VIRTUALENV=0 PIP_USER=0 PYTHONNOUSERSITE=1 \
        "$venv/bin/python" -m pip install --quiet --quiet --no-input "$@"
}

make_venv() {
    if "$1" -c 'import ensurepip, venv' 2>/dev/null; then
        "$1" -m venv --clear "$venv"
    elif as_root && apt_install "$("$1" -c 'import sys; print(f"python3.{sys.version_info[1]}-venv")')"; then
        "$1" -m venv --clear "$venv"
    elif command -v uv >/dev/null; then
        uv venv --quiet --clear --seed --python "$1" "$venv"
    else
        fail "Python's venv module is missing here. On Debian: apt-get install python3-venv. Or install uv. Then run make again."
    fi
}

fingerprint() {
    {
        pwd -P
        cat "$lock" pyproject.toml "$0"
    } | sha256sum | cut -d' ' -f1
}

ready() {
    [ -x "$venv/bin/python" ] && [ "$(cat "$venv/.made-from" 2>/dev/null)" = "$(fingerprint)" ]
}

ready && exit 0
exec 9>.local/set-up.lock
if ! flock -n 9; then
    say "Waiting for another set-up in this directory to end …"
    flock 9
fi
ready && exit 0

if ! python=$(find_python); then
    if as_root; then
        apt_install python3 python3-venv
    fi
    python=$(find_python) || fail "Python 3.11 or newer is needed. On Debian 12 or 13: apt-get install python3 python3-venv."
fi

say "Setting up .venv with $("$python" --version) (once; some minutes on a slow line) …"
rm -f "$venv/.made-from"
[ -x "$venv/bin/python" ] && recent_enough "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1 ||
    make_venv "$python"
pip_install --require-hashes --only-binary :all: -r "$lock"
pip_install --no-deps --no-build-isolation --no-index --editable .
fingerprint >"$venv/.made-from"
say "Set-up done."
