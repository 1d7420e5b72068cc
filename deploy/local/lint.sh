#!/usr/bin/env bash
# All static checks. Each runs even when one before it failed, so one run shows everything.
set -uo pipefail
cd "$(dirname "$0")/../.."
export PATH="$PWD/.venv/bin:$PATH"
failed=()

check() {
    local name=$1
    shift
    printf -- '— %s\n' "$name"
    "$@" || failed+=("$name")
}

lock_has_no_address() {
    ! grep -nE '://|^-|[a-z0-9-]+\.(org|com|net|io)\b' requirements/*.txt
}

compose_config() {
    local engine
    if docker compose version >/dev/null 2>&1; then
        engine="docker compose"
    elif command -v docker-compose >/dev/null; then
        engine="docker-compose"
    else
        echo "(no docker compose here: only its schema is checked)"
        return 0
    fi
    # The example holds no secrets, and Compose insists on them.
    sed 's/=$/=for-this-check-alone/' deploy/docker/example.env >.local/compose.env
    $engine --env-file .local/compose.env config --quiet
}

check "ruff" ruff check .
check "ruff format" ruff format --check .
check "types" basedpyright
check "imports" lint-imports --no-cache --no-logo
check "lock" lock_has_no_address
check "compose schema" check-jsonschema --quiet --builtin-schema vendor.compose-spec docker-compose.yml
check "compose" compose_config
check "Dockerfile" hadolint --failure-threshold info deploy/docker/Dockerfile

if [ ${#failed[@]} -gt 0 ]; then
    printf 'Failed: %s\n' "${failed[*]}"
    exit 1
fi
echo "All checks passed."
