"""Lists: what every filter shows, page by page."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from convive_contracts.envelope import rfc3339
from invitation.lifecycle.invitation import Invitation, Invitee
from invitation.lifecycle.states import State
from invitation.ops import bulk as bulk_operations
from invitation.ops.bulk import BulkRunner
from invitation.store import bulk, mongo, statistics
from invitation.store.bulk import Bulk, Bulks
from invitation.store.protocol import Filter, Store
from tests.store.stores import CABINETS, FILTERS, Made, a_new, some_invitations
from tests.unit.lifecycle.making import NOW, POLICY, a_blank, an_event, an_invitee, later, told


def expected(which: Filter, invitations: list[Invitation]) -> list[str]:
    """What a list must show, said once more in the plainest way."""

    def shows(i: Invitation) -> bool:
        who = i.invitee
        assert who is not None
        final = i.state in (State.ACTIVE, State.REVOKED, State.DECLINED)
        return (
            (not which.states or i.state in which.states)
            and (not which.channels or i.channel in which.channels)
            and (not which.cabinet_ids or who.cabinet_id in which.cabinet_ids)
            and (not which.dossier_ids or who.dossier_id in which.dossier_ids)
            and (not which.member_ids or who.member_id in which.member_ids)
            and (not which.email_keys or who.email_key in which.email_keys)
            and (not which.errors or i.reason in which.errors)
            and _begins(which.begins, who)
            and (which.created_after is None or i.created_at >= which.created_after)
            and (which.created_before is None or i.created_at < which.created_before)
            and (which.stuck_since is None or (i.updated_at < which.stuck_since and not final))
        )

    shown = [i for i in invitations if shows(i)]
    return [i.id for i in sorted(shown, key=lambda i: (i.created_at, i.id))]


def _begins(begins: str, who: Invitee) -> bool:
    first = {"Élodie": "elodie", "Jean  Marc": "jean marc", "Lœtitia": "loetitia"}.get(who.first_name, who.first_name)
    last = {"O'Élan": "o'elan"}.get(who.last_name, who.last_name)
    first, last = first.lower(), last.lower()
    return any(what.startswith(begins) for what in (f"{first} {last}", f"{last} {first}", who.email))


async def all_pages(store: Store, which: Filter, *, limit: int, newest_first: bool) -> list[str]:
    ids: list[str] = []
    after = None
    while True:
        page = await store.find(which, limit=limit, after=after, newest_first=newest_first)
        assert len(page.items) <= limit
        ids += [i.id for i in page.items]
        after = page.after
        if after is None:
            return ids


async def test_every_filter_shows_what_it_says_page_by_page_without_gaps_or_repeats(made: Made) -> None:
    invitations = some_invitations()
    await made.put(*invitations)

    for which in FILTERS:
        oldest_first = expected(which, invitations)
        for limit in (1, 4, 100):
            assert await all_pages(made.store, which, limit=limit, newest_first=False) == oldest_first, which
            assert await all_pages(made.store, which, limit=limit, newest_first=True) == oldest_first[::-1], which


async def test_what_is_rare_is_found_piece_by_piece_without_gaps_or_repeats(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongo, "LOOKED_AT", 3)
    invitations = some_invitations()
    await made.put(*invitations)

    for patience in (0.0, 60.0):
        monkeypatch.setattr(mongo, "PATIENCE", patience)
        for which in FILTERS:
            oldest_first = expected(which, invitations)
            for limit in (1, 4, 100):
                assert await all_pages(made.store, which, limit=limit, newest_first=False) == oldest_first, which
                assert await all_pages(made.store, which, limit=limit, newest_first=True) == oldest_first[::-1], which


async def test_a_table_holds_every_row_of_a_filter_once(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongo, "ROWS", 3)
    invitations = some_invitations()
    await made.put(*invitations)

    for which in FILTERS:
        rows = [row async for piece in made.store.rows(which) for row in piece]
        assert [row["id"] for row in rows] == expected(which, invitations)[::-1], which
        for row in rows:
            invitation = next(i for i in invitations if i.id == row["id"])
            assert invitation.invitee is not None
            shown = (row["state"], row["reason"], row["email"], row["dossier"], row["created_at"], row["expires_at"])
            assert shown == (
                invitation.state.value,
                invitation.reason,
                invitation.invitee.email,
                invitation.invitee.dossier_name,
                rfc3339(invitation.created_at),
                invitation.expires_at and rfc3339(invitation.expires_at),
            )


@pytest.mark.database
async def test_a_page_ends_early_rather_than_look_at_everything(crowded: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongo, "LOOKED_AT", 100)
    monkeypatch.setattr(mongo, "PATIENCE", 0.0)

    page = await crowded.store.find(Filter(cabinet_ids=[CABINETS[0]], channels=["nothing of the kind"]), limit=10)

    assert page.items == []
    assert page.after is not None


async def test_a_corrected_name_is_found_and_the_old_one_is_not(made: Made) -> None:
    change = a_new(first_name="Jeanne", last_name="Martin")
    await made.store.save(change)

    corrected = change.after.details_changed(an_invitee(first_name="Anne"), told(2, later(days=1)), an_event(), POLICY)
    assert corrected is not None
    await made.store.save(corrected)

    assert [i.id for i in (await made.store.find(Filter(begins="anne m"), limit=10)).items] == [change.after.id]
    assert (await made.store.find(Filter(begins="jeanne m"), limit=10)).items == []


async def test_an_invitation_made_while_somebody_turns_pages_shifts_nothing(made: Made) -> None:
    invitations = some_invitations()
    await made.put(*invitations)
    page = await made.store.find(Filter(), limit=5)

    await made.put(replace(a_new().after, created_at=later(days=1)))

    assert page.after is not None
    second = await made.store.find(Filter(), limit=100, after=page.after)
    seen = [i.id for i in (*page.items, *second.items)]
    assert seen == expected(Filter(), invitations)[::-1]


async def test_what_was_never_announced_is_not_listed(made: Made) -> None:
    tombstone = a_blank().was_removed(told(), an_event())
    held = a_blank().details_changed(an_invitee(), told(), an_event(), POLICY)
    assert tombstone is not None
    assert held is not None
    await made.store.save(tombstone)
    await made.store.save(held)

    assert (await made.store.find(Filter(), limit=10)).items == []


@pytest.mark.database
async def test_everything_is_counted_once(crowded: Made) -> None:
    assert crowded.database is not None

    counted = await statistics.count(crowded.database, NOW + timedelta(minutes=30))

    assert counted.by_state == {state.value: 110 for state in State}
    assert {channel: sum(numbers.values()) for channel, numbers in counted.by_channel.items()} == {
        channel: len(await all_pages(crowded.store, Filter(channels=[channel]), limit=200, newest_first=True))
        for channel in ("email", "sms", "none")
    }
    assert sum(counted.reasons.values()) == 660
    assert counted.per_day[-1] == (NOW.replace(hour=0, minute=0), counted.by_state)
    assert counted.created_last_hour == 990


@pytest.mark.database
async def test_a_set_is_frozen_and_read_in_order(crowded: Made) -> None:
    assert crowded.database is not None
    bulks = Bulks(crowded.database, mongo.INVITATIONS)
    which = Filter(states=[State.SENT])
    listed = sorted(await all_pages(crowded.store, which, limit=200, newest_first=True))

    assert await bulks.freeze("one", which) == len(listed) == 110
    assert await bulks.freeze("two", Filter(states=[State.FAILED])) == 110
    await crowded.database[mongo.INVITATIONS].update_many({"state": "sent"}, {"$set": {"state": "opened"}})

    frozen: list[str] = []
    while ids := await bulks.items("one", after=frozen[-1] if frozen else None, limit=50):
        frozen += ids
    assert frozen == listed
    await bulks.forget("one")
    assert await bulks.items("one", after=None, limit=10) == []
    assert len(await bulks.items("two", after=None, limit=200)) == 110


@pytest.mark.database
async def test_a_set_without_its_run_is_let_go_after_a_while(crowded: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    assert crowded.database is not None
    bulks = Bulks(crowded.database, mongo.INVITATIONS)
    runner = BulkRunner(bulks, crowded.store, owner="me", now=lambda: NOW, policy=POLICY, due_changed=lambda: None)
    begun = Bulk(
        id="begun", filter={}, dry_run=False, rate=None, reason="x", actor="ops", created_at=NOW, action="revoke"
    )
    await bulks.begin(begun)
    for id in (begun.id, "cut off"):
        await bulks.freeze(id, Filter(states=[State.SENT]))

    await runner.tidy()
    assert await bulks.with_items() == [begun.id, "cut off"]
    monkeypatch.setattr(bulk_operations, "_ABOUT_TO_BEGIN", 0.0)
    await runner.tidy()
    assert await bulks.with_items() == [begun.id]
    await bulks.abort(begun.id, NOW)
    await runner.tidy()
    assert await bulks.with_items() == []


@pytest.mark.database
async def test_a_set_that_is_too_large_is_refused(crowded: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    assert crowded.database is not None
    monkeypatch.setattr(bulk, "MOST", 100)
    bulks = Bulks(crowded.database, mongo.INVITATIONS)

    assert await bulks.freeze("one", Filter(states=[State.SENT])) is None
    assert await bulks.items("one", after=None, limit=10) == []
