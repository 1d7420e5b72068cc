"""Lists: what every filter shows, page by page, and that each comes out of an index in order."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from uuid import UUID

import pytest

from invitation.lifecycle.invitation import Invitation, Invitee
from invitation.lifecycle.states import State
from invitation.store import bulk, mongo, statistics
from invitation.store.bulk import Bulks
from invitation.store.protocol import Filter, Store
from tests.store.stores import CABINETS, DOSSIERS, Made, a_new, explain, some_invitations
from tests.unit.lifecycle.making import NOW, POLICY, a_blank, an_event, an_invitee, later, told

BEGINNINGS = (
    "e",
    "el",
    "elodi",
    "elodie",
    "elodie martin",
    "martin e",
    "jean m",
    "loetitia",
    "o'el",
    "bo",
    "bo ma",
    "bo martin",
    "(el",
    "李",
    "p1@ex",
    "nobody",
    ".",
)

FILTERS = [
    Filter(),
    Filter(states=[State.SENT]),
    Filter(states=[State.SENT, State.FAILED]),
    Filter(channels=["sms"]),
    Filter(channels=["sms", "none"]),
    Filter(cabinet_ids=[CABINETS[0]]),
    Filter(cabinet_ids=CABINETS),
    Filter(dossier_ids=[DOSSIERS[1]]),
    Filter(dossier_ids=DOSSIERS[:2]),
    Filter(member_ids=[str(UUID(int=101))]),
    Filter(member_ids=[str(UUID(int=101)), str(UUID(int=102))]),
    Filter(email_keys=["p1@example.com"]),
    Filter(email_keys=["p1@example.com", "p2@example.com"]),
    Filter(errors=["550 no such user"]),
    Filter(created_after=NOW + timedelta(minutes=2)),
    Filter(created_before=NOW + timedelta(minutes=2)),
    Filter(created_after=NOW + timedelta(minutes=1), created_before=NOW + timedelta(minutes=4)),
    Filter(stuck_since=NOW + timedelta(hours=6)),
    Filter(stuck_since=NOW + timedelta(hours=16), states=[State.SENT, State.ACTIVE]),
    Filter(stuck_since=NOW + timedelta(hours=16), states=[State.ACTIVE, State.REVOKED]),
    Filter(states=[State.SENT, State.OPENED], cabinet_ids=[CABINETS[0]], channels=["email"]),
    Filter(member_ids=[str(UUID(int=999))]),
    *(Filter(begins=begins) for begins in BEGINNINGS),
    Filter(begins="el", states=[State.SENT, State.OPENED], cabinet_ids=[CABINETS[0]]),
    Filter(begins="elodie m", dossier_ids=[DOSSIERS[0]], errors=["451 later"]),
]


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
                invitation.created_at,
                invitation.expires_at,
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


# --- what the database does for it ---


@pytest.mark.database
async def test_no_list_reads_everything_or_sorts_in_memory(crowded: Made) -> None:
    for which in FILTERS:
        for newest_first in (True, False):
            plan = await explain(crowded, partial(crowded.store.find, which, limit=20, newest_first=newest_first))
            assert "IXSCAN" in plan, which
            assert "COLLSCAN" not in plan, which


@pytest.mark.database
async def test_no_table_and_no_frozen_set_reads_everything_or_sorts_in_memory(crowded: Made) -> None:
    assert crowded.database is not None
    for which in FILTERS:

        async def read(which: Filter = which) -> None:
            async for _ in crowded.store.rows(which):
                pass

        plan = await explain(crowded, read)
        assert "IXSCAN" in plan or plan == "EOF", which


@pytest.mark.database
async def test_counting_reads_indexes_and_no_document(crowded: Made) -> None:
    assert crowded.database is not None
    database = crowded.database
    await database.command("profile", 2)
    counted = await statistics.count(database, NOW + timedelta(minutes=30))
    await database.command("profile", 0)

    namespace = f"{database.name}.{mongo.INVITATIONS}"
    profiled = await database["system.profile"].find({"ns": namespace, "op": "command"}).to_list(10)
    await database["system.profile"].drop()
    assert [query["docsExamined"] for query in profiled] == [0, 0, 0]
    assert counted.by_state == {state.value: 110 for state in State}
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
async def test_a_set_that_is_too_large_is_refused(crowded: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    assert crowded.database is not None
    monkeypatch.setattr(bulk, "MOST", 100)
    bulks = Bulks(crowded.database, mongo.INVITATIONS)

    assert await bulks.freeze("one", Filter(states=[State.SENT])) is None
    assert await bulks.items("one", after=None, limit=10) == []


@pytest.mark.database
async def test_finding_one_member_reads_no_others(crowded: Made) -> None:
    assert crowded.database is not None
    for which in (Filter(member_ids=[str(UUID(int=101))]), Filter(email_keys=["p1@example.com"])):
        plan = await explain(crowded, partial(crowded.store.find, which, limit=20))
        assert "member." in plan


@pytest.mark.database
async def test_a_later_page_reads_an_index_from_where_it_goes_on(crowded: Made) -> None:
    first = await crowded.store.find(Filter(), limit=20)

    plan = await explain(crowded, lambda: crowded.store.find(Filter(), limit=20, after=first.after))

    assert plan == "IXSCAN { announced: 1, created_at: -1, _id: -1 }"
