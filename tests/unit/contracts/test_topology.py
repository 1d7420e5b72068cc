"""The topology as data: what is agreed about it and what brokers ask of it."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from convive_contracts import topology
from convive_contracts.events import DATA_BY_TYPE, INVITATION_FACTS

QUEUES = {queue.name: queue for queue in topology.QUEUES}


def matches(pattern: str, key: str) -> bool:
    """As a topic exchange does: `*` is one word, `#` any number of them."""
    words, parts = key.split("."), pattern.split(".")
    if parts[-1] == "#":
        return words[: len(parts) - 1] == parts[:-1]
    return len(words) == len(parts) and all(fnmatchcase(word, part) for word, part in zip(words, parts, strict=True))


def queues_of(key: str) -> set[str]:
    return {b.queue for b in topology.BINDINGS if b.exchange == topology.EXCHANGE and matches(b.key, key)}


@pytest.mark.parametrize("family", ["user", "account", "dossier", "cabinet"])
def test_what_the_directory_and_others_tell_goes_to_the_invitation_service_and_the_log(family: str) -> None:
    assert queues_of(f"{family}.anything") == {topology.INVITATION_EVENTS, topology.LOG}


@pytest.mark.parametrize("fact", INVITATION_FACTS)
def test_what_becomes_of_an_invitation_goes_to_the_directory_and_the_log(fact: str) -> None:
    assert queues_of(f"invitation.{fact}") == {topology.DIRECTORY_EVENTS, topology.LOG}


@pytest.mark.parametrize("asked", ["resend_requested", "revoke_requested"])
def test_requests_go_to_the_invitation_service(asked: str) -> None:
    assert topology.INVITATION_EVENTS in queues_of(f"invitation.{asked}")


def test_the_bulk_lane_is_a_queue_of_its_own() -> None:
    assert queues_of("user.created.bulk") == {topology.INVITATION_BULK, topology.LOG}


@pytest.mark.parametrize("key", ["usr.created", "", "created", "users.created"])
def test_a_mistyped_key_is_routed_nowhere_so_that_the_alternate_exchange_gets_it(key: str) -> None:
    assert queues_of(key) == set()


def test_every_type_there_is_has_a_queue() -> None:
    for full in DATA_BY_TYPE:
        assert queues_of(full.removeprefix("convive.").removesuffix(".v1")) - {topology.LOG}


def test_no_work_queue_drops_anything() -> None:
    for name in (topology.INVITATION_EVENTS, topology.INVITATION_BULK, topology.DIRECTORY_EVENTS):
        arguments = QUEUES[name].arguments
        assert arguments["x-queue-type"] == "quorum"
        assert arguments["x-dead-letter-exchange"] == topology.DEAD_LETTERS
        assert arguments["x-dead-letter-strategy"] == "at-least-once"
        assert arguments["x-overflow"] == "reject-publish"
        assert arguments["x-delivery-limit"] >= 1000
        assert any(
            b.exchange == topology.DEAD_LETTERS and b.key == arguments["x-dead-letter-routing-key"]
            for b in topology.BINDINGS
        )


def test_the_exchange_has_its_alternate_and_that_one_ends_in_the_parking_queue() -> None:
    events = next(exchange for exchange in topology.EXCHANGES if exchange.name == topology.EXCHANGE)

    assert events.arguments == {"alternate-exchange": topology.UNROUTABLE}
    assert topology.Binding(topology.UNROUTABLE, topology.INVITATION_PARKED, "") in topology.BINDINGS
    # Declared before what names it.
    names = [exchange.name for exchange in topology.EXCHANGES]
    assert names.index(topology.UNROUTABLE) < names.index(topology.EXCHANGE)


def test_the_log_is_a_stream_of_thirty_days_bound_by_family() -> None:
    assert QUEUES[topology.LOG].arguments["x-queue-type"] == "stream"
    assert QUEUES[topology.LOG].arguments["x-max-age"] == "30D"
    assert "#" not in {b.key for b in topology.BINDINGS}
