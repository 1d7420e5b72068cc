"""Other teams install the contracts with pydantic and nothing else; the publisher needs aio-pika besides."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[3] / "shared"

# Refuses every package that is not of Python itself or on the list.
BLOCKED = """
import sys
allowed = set(sys.argv[1].split(",")) | sys.stdlib_module_names
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed and not name.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"{name} is not installed there", name=name)
sys.meta_path.insert(0, Blocker())
sys.path.insert(0, sys.argv[2])
"""
PYDANTIC = "convive_contracts,pydantic,pydantic_core,annotated_types,typing_extensions,typing_inspection"


def run(code: str, allowed: str = PYDANTIC) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCKED + code, allowed, str(SHARED)], capture_output=True, text=True, timeout=60
    )


def test_events_are_read_and_written_with_pydantic_alone() -> None:
    code = """
from convive_contracts import invitation_id, new_event, parse_event
from convive_contracts import topology
ids = dict.fromkeys(("member", "dossier", "cabinet"), {"id": "0b4e3c1a-6f0d-4b0e-9a3e-2f6f0a9d7c11"})
event = new_event("user.removed", source="/payroll", subject=ids["member"]["id"], data=ids)
print(parse_event(event.to_structured(), content_type=None).short_type)
"""
    result = run(code)

    assert (result.stdout.strip(), result.stderr) == ("user.removed", "")


def test_without_the_extra_the_publisher_says_what_is_missing() -> None:
    result = run("import convive_contracts.publisher")

    assert result.returncode == 1
    assert "aio_pika is not installed" in result.stderr


@pytest.mark.parametrize("unwanted", ["convive_kit", "pymongo", "aiohttp", "structlog", "aio_pika"])
def test_the_contracts_do_not_load_what_they_do_not_need(unwanted: str) -> None:
    code = "import sys; import convive_contracts, convive_contracts.topology; print(sys.argv[1] in sys.modules)"

    result = subprocess.run([sys.executable, "-c", code, unwanted], capture_output=True, text=True, timeout=60)

    assert result.stdout.strip() == "False"
