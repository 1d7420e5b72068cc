"""Messages of every kind ever published, which must parse for ever.

Made once: by hand, and with the official CloudEvents SDK where the file says so. They are never made anew; a sample
that no longer parses is a publisher that no longer gets through.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from convive_contracts import parse_event
from convive_contracts.envelope import STRUCTURED, rfc3339
from convive_contracts.events import DATA_BY_TYPE

FOLDER = Path(__file__).parents[2] / "golden"
SAMPLES = {path.name.removesuffix(".json"): json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def is_part(expected: Any, there: Any) -> bool:
    """Whether everything expected is there; models may have gained fields."""
    if isinstance(expected, Mapping):
        return isinstance(there, Mapping) and all(k in there and is_part(v, there[k]) for k, v in expected.items())
    return expected == there


@pytest.mark.parametrize("name", SAMPLES)
def test_a_golden_sample_parses_and_means_what_it_meant(name: str) -> None:
    sample = SAMPLES[name]

    event = parse_event(sample["body"].encode(), content_type=sample["content_type"], headers=sample["headers"])

    expected = dict(sample["expect"])
    data = expected.pop("data")
    assert {name: getattr(event, name) for name in expected} == {**expected, "time": event.time}
    assert rfc3339(event.time) == expected["time"]
    written = json.loads(event.to_structured())["data"]
    if "expires_at" in data:
        written["expires_at"] = written["expires_at"].replace("00Z", "00.000Z")
    assert is_part(data, written)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_golden_sample_survives_being_published_by_us(name: str) -> None:
    sample = SAMPLES[name]
    event = parse_event(sample["body"].encode(), content_type=sample["content_type"], headers=sample["headers"])

    assert parse_event(event.to_structured(), content_type=STRUCTURED) == event


def test_there_is_a_golden_sample_of_every_type() -> None:
    assert {sample["expect"]["type"] for sample in SAMPLES.values()} == set(DATA_BY_TYPE)
