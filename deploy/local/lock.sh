#!/usr/bin/env bash
# Resolves the requirements anew: pins and hashes for Python 3.11 and newer, and no address of any registry.
# `make lock ARGS=--upgrade` takes the newest releases; without it, pins that still fit are kept.
set -euo pipefail
cd "$(dirname "$0")/../.."

compile() {
    local to=$1
    shift
    env UV_SYSTEM_CERTS=1 SSL_CERT_FILE="${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" \
        .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-annotate --no-header "$@" --output-file "$to"
}

mkdir -p requirements
compile requirements/everything.txt pyproject.toml --extra traces --group dev --group local --group bench "$@"
# What the image runs is a part of what was tested: the same pins.
compile requirements/runtime.txt pyproject.toml --extra traces --constraint requirements/everything.txt
echo "Written: requirements/runtime.txt, requirements/everything.txt"
