"""Browsers for the journeys. The browser is started once; every person has a context of their own."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ViewportSize, async_playwright, expect

from tests.journey.browsing import DESKTOP, ENGLISH, Person, Words, launch
from tests.running import Stack
from tests.speaking import PASSWORD

_PATIENCE = 15_000
"""Milliseconds. Pages answer at once; this is for a machine that is busy with something else."""


class NewPerson(Protocol):
    async def __call__(
        self,
        *,
        words: Words = ENGLISH,
        screen: ViewportSize = DESKTOP,
        javascript: bool = True,
        stack: Stack | None = None,
    ) -> Person: ...


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncGenerator[Browser]:
    expect.set_options(timeout=_PATIENCE)
    async with async_playwright() as playwright:
        browser = await launch(playwright)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def new_person(request: pytest.FixtureRequest, browser: Browser) -> AsyncGenerator[NewPerson]:
    """Seats somebody in front of a fresh browser. At the end of the test, fails on everything that a browser
    complained of, and on every request that left our own addresses."""
    people: list[Person] = []

    async def seat(
        *,
        words: Words = ENGLISH,
        screen: ViewportSize = DESKTOP,
        javascript: bool = True,
        stack: Stack | None = None,
    ) -> Person:
        of: Stack = stack or request.getfixturevalue("stack")
        of.private.add(PASSWORD)
        context = await browser.new_context(
            viewport=screen,
            locale=words.browser,
            java_script_enabled=javascript,
            # Colours that fade into each other cannot be measured.
            reduced_motion="reduce",
        )
        context.set_default_timeout(_PATIENCE)
        person = Person(context, await context.new_page(), (of.directory.url, of.invitation.url, of.inbox.url))
        people.append(person)
        return person

    yield seat
    for person in people:
        await person.context.close()
    troubles = [trouble for person in people for trouble in person.troubles]
    assert not troubles, "\n".join(troubles)
