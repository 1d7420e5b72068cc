"""One address of a broker, or those of all nodes of a cluster."""

from __future__ import annotations

import pytest

from convive_contracts.brokers import Brokers, broker_urls

ONE, TWO, THREE = (f"amqp://guest:secret@node-{number}:5672/convive" for number in (1, 2, 3))


def test_one_address_stays_as_it_is() -> None:
    for url in (ONE, "amqps://a,b:c,d@host/", "amqp://host", "amqp:///", "amqp://model", "amqp://[::1]:5672/%2C"):
        assert broker_urls(url) == (url,)


def test_several_are_separated_by_commas() -> None:
    assert broker_urls(f"{ONE},{TWO} , {THREE}") == (ONE, TWO, THREE)
    assert broker_urls("amqp://u:a,b@one/,amqps://two") == ("amqp://u:a,b@one/", "amqps://two")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "it does not begin with amqp"),
        ("http://guest:secret@host/", "it does not begin with amqp"),
        ("guest:secret@host:5672", "it does not begin with amqp"),
        (f"{ONE},", "address 2 of 2 does not begin with amqp"),
        (f"{ONE},,{TWO}", "address 2 of 3 does not begin with amqp"),
        (f"{ONE},http://secret@x", "address 2 of 2 does not begin with amqp"),
        (f"{ONE},node-2:5672", "it has a comma or a space in it"),
        (f"{ONE} {TWO}", "it has a comma or a space in it"),
        ("amqp://guest:secret@host:port/", "it has a host or a port that cannot be read"),
        ("amqp://guest:secret/5672@host/", "it has a host or a port that cannot be read"),
        (f"{ONE},amqp://guest:secret@host:99999/", "address 2 of 2 has a host or a port that cannot be read"),
        ("amqp://[secret", "it has a host or a port that cannot be read"),
    ],
)
def test_what_is_no_address_is_named_by_its_place_and_never_shown(given: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        broker_urls(given)
    assert "secret" not in str(refused.value)


def test_after_one_that_failed_comes_the_next_and_then_the_first_again() -> None:
    brokers = Brokers(f"{ONE},{TWO}")
    seen: list[str] = []
    for _ in range(3):
        seen.append(brokers.url)
        brokers.turn()
    assert seen == [ONE, TWO, ONE]
    alone = Brokers(ONE)
    alone.turn()
    assert alone.url == ONE


def test_each_is_tried_once_and_the_one_that_answered_first_next_time() -> None:
    brokers = Brokers(f"{ONE},{TWO},{THREE}")
    for url in brokers.each():
        if url == TWO:
            break
    assert list(brokers.each()) == [TWO, THREE, ONE]


def test_a_log_may_say_where_a_broker_is_and_not_with_which_password() -> None:
    assert Brokers(ONE).name == "node-1:5672"
    assert Brokers("amqps://guest:secret@host").name == "host:5671"
    assert Brokers("amqp://").name == "localhost:5672"
