"""One suite for every store of invitations: the fake passes what the real one passes, on both drivers."""

from __future__ import annotations

import asyncio
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convive_contracts.events import CabinetState, DossierState, Policies
from convive_kit.group_commit import DuplicateKey, VersionConflict
from convive_kit.mongo import close_client, open_client
from invitation.lifecycle.invitation import Change, Invitation, Invitee, Lease, Step, Told
from invitation.lifecycle.rebuilt import armed
from invitation.lifecycle.states import State
from invitation.store.documents import KEPT_STEPS, from_document, to_document, to_update
from invitation.store.mongo import INVITATIONS, create_indexes
from invitation.store.protocol import Contended, Store, decide_and_save, decide_or_begin
from tests.real_parts import finished
from tests.store.stores import Made, a_new, mongo_store
from tests.unit.lifecycle.making import (
    NOW,
    POLICY,
    a_blank,
    a_cause,
    an_event,
    an_invitation,
    an_invitee,
    done,
    later,
    told,
)


async def there(made: Made, id: str) -> Invitation:
    found = await made.store.load(id)
    assert found is not None
    return found


# --- saving and loading ------------------------------------------------------------------------------------------


async def test_what_is_unknown_is_none(made: Made) -> None:
    assert await made.store.load(str(uuid4())) is None
    assert await made.store.history(str(uuid4())) == []


async def test_what_was_saved_is_loaded_the_same(made: Made) -> None:
    change = a_new()
    await made.store.save(change)

    assert await there(made, change.after.id) == change.after


@pytest.mark.parametrize("state", list(State))
async def test_every_state_is_loaded_as_it_was_saved(made: Made, state: State) -> None:
    invitation = replace(an_invitation(state), id=str(uuid4()))
    await made.put(invitation)

    assert await there(made, invitation.id) == invitation


async def test_a_second_insert_is_a_duplicate_and_changes_nothing(made: Made) -> None:
    change = a_new()
    await made.store.save(change)

    with pytest.raises(DuplicateKey):
        await made.store.save(a_new(change.after.id, first_name="Other"))
    assert await there(made, change.after.id) == change.after
    assert len(await made.store.history(change.after.id)) == 1


async def test_of_many_inserts_at_once_one_wins(made: Made) -> None:
    id = str(uuid4())

    results = await asyncio.gather(*(made.store.save(a_new(id)) for _ in range(20)), return_exceptions=True)

    assert [type(result).__name__ for result in results].count("NoneType") == 1
    assert sum(isinstance(result, DuplicateKey) for result in results) == 19


async def test_a_save_of_what_somebody_else_changed_is_a_conflict_and_writes_nothing(made: Made) -> None:
    first = a_new()
    await made.store.save(first)
    one, other = first.after.declined(a_cause()), first.after.opened(a_cause(), POLICY)
    await made.store.save(one)
    announced = len(made.announced)

    with pytest.raises(VersionConflict):
        await made.store.save(other)

    assert (await there(made, first.after.id)).state is State.DECLINED
    assert [step.trigger for step in await made.store.history(first.after.id)] == ["created", "declined"]
    assert len(made.announced) == announced


async def test_of_many_saves_at_once_one_wins(made: Made) -> None:
    first = a_new()
    await made.store.save(first)

    results = await asyncio.gather(
        *(made.store.save(first.after.opened(a_cause(), POLICY)) for _ in range(20)), return_exceptions=True
    )

    assert [result for result in results if result is None] == [None]
    assert (await there(made, first.after.id)).version == first.after.version + 1


async def test_a_change_is_carried_out_whole_with_its_history_and_its_facts(made: Made) -> None:
    first = a_new()
    await made.store.save(first)
    change = first.after.redeemed("account-1", "existing", an_event(later(hours=1)), signed_in=True)
    assert change is not None

    await made.store.save(change)

    assert await there(made, first.after.id) == change.after
    assert list(await made.store.history(first.after.id)) == [*first.steps, *change.steps]
    id, entries = made.announced[-1]
    assert id == first.after.id
    assert [entry["key"] for entry in entries] == [
        "invitation.sent",
        "invitation.opened",
        "invitation.password_set",
        "invitation.active",
    ]
    assert [entry["id"] for entry in entries] == [f"{id}.{fact.version}" for fact in change.facts]
    assert {entry["at"] for entry in entries} == {later(hours=1)}


async def test_what_became_none_is_gone_when_loaded(made: Made) -> None:
    first = a_new(phone="+33612345678", employee_code="E-1")
    await made.store.save(first)
    claimed = first.after.claimed("worker-1", NOW, POLICY)
    await made.store.save(claimed)
    sent = claimed.after.accepted(1, a_cause(), POLICY)
    await made.store.save(sent)
    updated = sent.after.details_changed(an_invitee(), told(2), an_event(), POLICY)
    assert updated is not None
    await made.store.save(updated)

    invitation = await there(made, first.after.id)

    assert (invitation.lease, invitation.send_at) == (None, None)
    assert invitation.invitee == an_invitee()


async def test_a_tombstone_of_somebody_unknown_can_be_kept(made: Made) -> None:
    change = a_blank().was_removed(told(None), an_event())
    assert change is not None
    await made.store.save(change)

    assert await there(made, change.after.id) == change.after


async def test_changing_what_was_loaded_changes_nothing_stored(made: Made) -> None:
    change = a_new()
    await made.store.save(change)

    loaded = await there(made, change.after.id)
    loaded.state = State.REVOKED

    assert (await there(made, change.after.id)).state is State.PENDING


async def test_a_flooded_history_keeps_its_newest_steps(made: Made) -> None:
    change = a_new()
    await made.store.save(change)
    invitation = change.after
    flood = [Step(later(seconds=n), "opened", State.OPENED, State.OPENED, "person", None, {"n": n}) for n in range(400)]
    await made.store.save(Change(invitation, replace(invitation, version=invitation.version + 1), tuple(flood), ()))

    history = await made.store.history(invitation.id)

    assert len(history) == KEPT_STEPS
    assert history[-1] == flood[-1]


@pytest.mark.database
async def test_history_and_outbox_are_in_the_document_after_one_write(mongo: Made) -> None:
    change = a_new()
    await mongo.store.save(change)
    sent = change.after.accepted(1, a_cause(), POLICY)
    await mongo.store.save(sent)

    assert mongo.database is not None
    document = await mongo.database[INVITATIONS].find_one({"_id": change.after.id})

    assert document is not None
    assert [step["trigger"] for step in document["history"]] == ["created", "accepted"]
    assert [entry["id"] for entry in document["outbox"]] == [f"{change.after.id}.{sent.after.version}"]
    assert len(document["writes"]) == 2
    assert "lease" not in document


# --- any invitation ----------------------------------------------------------------------------------------------

TIMES = st.integers(0, 4 * 10**12).map(
    lambda ms: datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TOLD = st.none() | st.builds(Told, time=TIMES, sequence=st.none() | st.integers(0, 2**60))
INVITEE = st.builds(
    Invitee,
    **{field.name: TEXT for field in fields(Invitee) if str(field.type) == "str"},
    **{field.name: st.none() | TEXT for field in fields(Invitee) if "None" in str(field.type)},
    own_expense_reports=st.booleans(),
)
NUMBERS = st.integers(0, 1000)
ANY = st.builds(
    Invitation,
    id=st.uuids().map(str),
    source=TEXT,
    created_at=TIMES,
    updated_at=TIMES,
    version=st.integers(1, 1000),
    invitee=st.none() | INVITEE,
    state=st.sampled_from(State),
    channel=st.sampled_from(["email", "sms", "none"]),
    link_sequence=NUMBERS,
    send_sequence=NUMBERS,
    attempt=NUMBERS,
    lease=st.none() | st.builds(Lease, owner=TEXT, until=TIMES),
    send_at=st.none() | TIMES,
    expires_at=st.none() | TIMES,
    due_at=st.none() | TIMES,
    reason=st.none() | TEXT,
    told=TOLD,
    removal=TOLD,
    announced=st.booleans(),
    account_id=st.none() | TEXT,
    credential=st.none() | TEXT,
    handled=st.lists(TEXT, max_size=4).map(tuple),
    correlation_id=st.none() | TEXT,
)


@given(before=ANY, after=ANY)
@settings(max_examples=100, deadline=None)
def test_any_invitation_survives_its_document_and_any_change_its_update(before: Invitation, after: Invitation) -> None:
    after = replace(after, id=before.id, source=before.source, created_at=before.created_at)
    document = to_document(Change(None, before, (), ()), [])
    assert from_document(document) == before

    update = to_update(Change(before, after, (), ()), [])
    document.update(update["$set"])
    for gone in update.get("$unset", ()):
        del document[gone]

    assert from_document(document) == after
    assert not set(update["$set"]) & set(update.get("$unset", ()))


@pytest.mark.database
@given(pairs=st.lists(st.tuples(ANY, ANY), min_size=1, max_size=8, unique_by=lambda pair: pair[0].id))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_invitation_survives_the_real_database(
    mongo_url: str, database: str, pairs: list[tuple[Invitation, Invitation]]
) -> None:
    async def scenario() -> None:
        client = open_client(mongo_url)
        made = mongo_store(client, database)
        for before, other in pairs:
            before = replace(before, id=str(uuid4()))
            after = replace(
                other, id=before.id, source=before.source, created_at=before.created_at, version=before.version + 1
            )
            await made.put(before)
            assert await there(made, before.id) == before
            await made.store.save(Change(before, after, (), ()))
            assert await there(made, before.id) == after
        await close_client(client)

    finished(scenario())


# --- due ---------------------------------------------------------------------------------------------------------


def due_at(moment: datetime | None, channel: Any = "email") -> Invitation:
    return replace(a_new(channel=channel).after, due_at=moment, channel=channel)


async def test_the_longest_due_come_first_and_no_more_than_asked_for(made: Made) -> None:
    by_age = [due_at(NOW - timedelta(seconds=age)) for age in (5, 3, 4, 1, 2)]
    await made.put(*by_age, due_at(later(seconds=1)), due_at(None))

    found = await made.store.due(NOW, 3, ["email"])

    assert [i.due_at for i in found] == [NOW - timedelta(seconds=age) for age in (5, 4, 3)]


async def test_what_is_due_this_very_moment_is_due(made: Made) -> None:
    await made.put(due_at(NOW))

    assert len(await made.store.due(NOW, 10, ["email"])) == 1


async def test_only_the_channels_asked_for_are_due_and_sorted_over_all_of_them(made: Made) -> None:
    await made.put(
        *(due_at(NOW - timedelta(seconds=age), channel) for age, channel in ((1, "email"), (2, "sms"), (3, "email"))),
        due_at(NOW - timedelta(seconds=9), "none"),
    )

    assert [i.channel for i in await made.store.due(NOW, 10, ["email", "sms"])] == ["email", "sms", "email"]
    assert [i.channel for i in await made.store.due(NOW, 10, ["none"])] == ["none"]
    assert await made.store.due(NOW, 10, []) == []


# --- names -------------------------------------------------------------------------------------------------------


async def test_what_the_creation_said_is_the_fallback_for_names(made: Made) -> None:
    names = await made.store.names(an_invitee(cabinet_phone="01"))

    assert (names.cabinet, names.cabinet_phone, names.dossier) == ("Cabinet Léger", "01", "Boulangerie Martin")


@pytest.mark.parametrize("order", [(1, 2), (2, 1), (2, 2)])
async def test_only_newer_names_are_learned(made: Made, order: tuple[int, int]) -> None:
    who = an_invitee()
    for number in order:
        await made.store.learn_cabinet(CabinetState(id=who.cabinet_id, name=f"C{number}", phone=f"0{number}"), number)
        await made.store.learn_dossier(
            DossierState(id=who.dossier_id, cabinet_id=who.cabinet_id, name=f"D{number}"), number
        )

    names = await made.store.names(who)

    assert (names.cabinet, names.cabinet_phone, names.dossier) == ("C2", "02", "D2")


async def test_how_a_firm_shows_itself_and_when_it_writes_is_learned_with_its_name(made: Made) -> None:
    who = an_invitee()
    chosen = Policies(reminder_days=(3, 7), quiet_from="21:00", sms_after_bounce=True)
    face = {"colour": "#123abc", "reply_to": "contact@example.com", "sms_sender": "LEGER"}
    await made.store.learn_cabinet(CabinetState(id=who.cabinet_id, name="C", policies=chosen, **face), 1)

    names = await made.store.names(who)

    assert {"colour": names.colour, "reply_to": names.reply_to, "sms_sender": names.sms_sender} == face
    assert names.policies == chosen


async def test_names_learned_at_once_end_with_the_newest(made: Made) -> None:
    for _ in range(150):  # whoever inserts first is not always the newest
        who = an_invitee(cabinet_id=str(uuid4()))
        await asyncio.gather(
            *(made.store.learn_cabinet(CabinetState(id=who.cabinet_id, name=f"C{n}"), n) for n in range(1, 4))
        )

        assert (await made.store.names(who)).cabinet == "C3"


async def test_a_cabinet_and_a_dossier_of_one_id_are_told_apart(made: Made) -> None:
    who = an_invitee(dossier_id=an_invitee().cabinet_id)
    await made.store.learn_dossier(DossierState(id=who.dossier_id, cabinet_id=who.cabinet_id, name="The dossier"), 5)

    names = await made.store.names(who)

    assert (names.cabinet, names.dossier) == ("Cabinet Léger", "The dossier")


# --- deciding ----------------------------------------------------------------------------------------------------


async def test_deciding_on_what_is_unknown_is_nothing(made: Made) -> None:
    assert await decide_and_save(made.store, str(uuid4()), lambda i: i.opened(a_cause(), POLICY)) is None


async def test_everyone_who_decides_at_once_is_heard(made: Made) -> None:
    change = a_new()
    await made.store.save(change)

    changes = await asyncio.gather(
        *(decide_and_save(made.store, change.after.id, lambda i: i.opened(a_cause(), POLICY)) for _ in range(10))
    )

    assert all(changes)
    history = await made.store.history(change.after.id)
    assert [step.trigger for step in history].count("opened") == 10
    assert (await there(made, change.after.id)).version == change.after.version + 10


async def test_beginning_what_somebody_else_began_decides_on_theirs(made: Made) -> None:
    id, event = str(uuid4()), an_event()

    changes = await asyncio.gather(
        *(
            decide_or_begin(
                made.store, lambda: a_blank(id), lambda i: i.created(an_invitee(), "email", told(), event, POLICY)
            )
            for _ in range(10)
        )
    )

    assert len([change for change in changes if change is not None]) == 1
    assert done(next(change for change in changes if change)).version == (await there(made, id)).version


async def test_whoever_loses_race_after_race_is_told_to_come_back(made: Made) -> None:
    change = a_new()
    await made.store.save(change)

    class NeverInTime:
        async def load(self, id: str) -> Invitation | None:
            return change.after

        async def save(self, change: Change) -> None:
            raise VersionConflict

    with pytest.raises(Contended):
        await decide_and_save(cast("Store", NeverInTime()), change.after.id, lambda i: i.opened(a_cause(), POLICY))


# --- what was rebuilt ----------------------------------------------------------------------------------------------


def a_disarmed(state: State, **fields: Any) -> Invitation:
    invitation = an_invitation(state)
    due = invitation.due_at
    return replace(invitation, id=str(uuid4()), **{"disarmed": True, "due_at": None, "due_once_armed": due, **fields})


async def test_what_was_rebuilt_comes_due_apart_from_all_else(made: Made) -> None:
    by_age = [
        a_disarmed(State.SENT, channel="email", due_once_armed=NOW - timedelta(seconds=age)) for age in (5, 3, 4, 1)
    ]
    by_sms = a_disarmed(State.SENT, channel="sms", due_once_armed=NOW)
    not_yet = a_disarmed(State.SENT, channel="email", due_once_armed=later(seconds=1))
    await made.put(*by_age, by_sms, not_yet, a_disarmed(State.ACTIVE), due_at(NOW))

    assert [i.due_at for i in await made.store.due(NOW, 9, ["email", "sms"])] == [NOW]
    found = await made.store.due_once_armed(NOW, 3, ["email"])
    assert [i.due_once_armed for i in found] == [NOW - timedelta(seconds=age) for age in (5, 4, 3)]
    assert [i.id for i in await made.store.due_once_armed(NOW, 3, ["sms"])] == [by_sms.id]
    assert await made.store.disarmed() == 6


async def test_an_armed_one_is_among_the_others(made: Made) -> None:
    one = a_disarmed(State.SENT, due_once_armed=NOW)
    await made.put(one)
    await decide_and_save(made.store, one.id, lambda i: armed(i, a_cause()))
    assert await made.store.disarmed() == 0
    assert await made.store.due_once_armed(later(days=99), 9, ["email"]) == []
    assert [i.id for i in await made.store.due(later(days=99), 9, ["email"])] == [one.id]


async def test_those_that_the_log_says_were_removed_are_to_be_decided_on(made: Made) -> None:
    removed = a_disarmed(State.SENT, removal=Told(NOW, 2))
    await made.put(removed, a_disarmed(State.SENT), replace(a_new().after, removal=Told(NOW, 2)))
    assert [one.id for one in await made.store.disarmed_and_removed(10)] == [removed.id]


# --- what the database does for it -------------------------------------------------------------------------------


@pytest.mark.database
async def test_indexes_may_be_made_again_and_by_many_at_once(mongo: Made) -> None:
    assert mongo.database is not None

    await asyncio.gather(*(create_indexes(mongo.database) for _ in range(4)))
