"""What the broker is told of messages that are done: in groups, and nothing of those that are not."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from convive_kit.consuming import Acknowledgements


class Channel:
    """Keeps what is acknowledged as a broker understands it."""

    def __init__(self, *, closed: bool = False) -> None:
        self.outstanding: set[int] = set()
        self.frames: list[tuple[int, bool]] = []
        self.closed = closed

    async def basic_ack(self, delivery_tag: int, multiple: bool = False, wait: bool = True) -> None:
        if self.closed:
            raise ConnectionResetError
        assert delivery_tag in self.outstanding, "the broker closes a channel that acknowledges a tag it does not know"
        self.frames.append((delivery_tag, multiple))
        self.outstanding -= {
            tag for tag in self.outstanding if tag == delivery_tag or (multiple and tag < delivery_tag)
        }


def a_consumer(*tags: int, closed: bool = False) -> tuple[Channel, Acknowledgements]:
    channel = Channel(closed=closed)
    acknowledgements = Acknowledgements(cast("Any", channel))
    for tag in tags:
        channel.outstanding.add(tag)
    return channel, acknowledgements


async def test_what_is_done_in_one_moment_is_one_frame() -> None:
    channel, acknowledgements = a_consumer(1, 2, 3)

    for tag in (2, 3, 1):
        acknowledgements.done(tag)
    await acknowledgements.sent()

    assert channel.frames == [(3, True)]


async def test_what_is_done_ahead_of_something_older_does_not_wait_for_it() -> None:
    channel, acknowledgements = a_consumer(1, 2, 3, 4)

    for tag in (1, 3, 4):
        acknowledgements.done(tag)
    await acknowledgements.sent()
    assert channel.frames == [(1, False), (3, False), (4, False)]

    acknowledgements.done(2)
    await acknowledgements.sent()
    assert channel.outstanding == set()


async def test_nothing_is_raised_where_the_channel_is_gone() -> None:
    channel, acknowledgements = a_consumer(1, closed=True)

    acknowledgements.done(1)
    await acknowledgements.sent()

    assert channel.outstanding == {1}


@given(st.permutations(range(1, 13)), st.lists(st.integers(1, 4), min_size=12, max_size=12))
def test_whatever_the_order_each_is_acknowledged_once_it_is_done_and_never_before(
    order: list[int], moments: list[int]
) -> None:
    async def live() -> None:
        channel, acknowledgements = a_consumer(*range(1, 13))
        left, waiting = set(order), list(order)
        for size in moments:
            for tag in waiting[:size]:
                acknowledgements.done(tag)
                left.discard(tag)
            del waiting[:size]
            await acknowledgements.sent()
            assert channel.outstanding == left

    asyncio.run(live())
