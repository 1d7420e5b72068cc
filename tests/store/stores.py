"""Stores of invitations under test, on every driver, and what the database did for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from convive_kit.group_commit import GroupCommit
from convive_kit.mongo import Client, Database, Document
from convive_kit.outbox import OutboxEntry
from invitation.lifecycle.invitation import Change, Invitation
from invitation.lifecycle.states import State
from invitation.store.documents import to_document
from invitation.store.mongo import INVITATIONS, MongoStore
from invitation.store.protocol import Filter, Store
from tests.unit.lifecycle.making import NOW, POLICY, a_blank, an_event, an_invitation, an_invitee, told


@dataclass
class Made:
    """A store under test with what it announced, and its database where it has one."""

    store: Store
    announced: list[tuple[str, Sequence[OutboxEntry]]]
    database: Database | None = None

    async def put(self, *invitations: Invitation) -> None:
        """Have these invitations stored as they are."""
        for invitation in invitations:
            await self.store.save(Change(None, invitation, (), ()))


def mongo_store(client: Client, name: str) -> Made:
    announced: list[tuple[str, Sequence[OutboxEntry]]] = []
    database = client[name]
    store = MongoStore(database, GroupCommit(database[INVITATIONS]), lambda id, what: announced.append((id, what)))
    return Made(store, announced, database)


def a_new(id: str | None = None, channel: Any = "email", **who: str) -> Change:
    """The change that makes an invitation."""
    change = a_blank(id).created(an_invitee(**who), channel, told(), an_event(), POLICY)
    assert change is not None
    return change


CABINETS = [str(UUID(int=number)) for number in (1, 2)]
DOSSIERS = [str(UUID(int=number)) for number in (3, 4, 5)]


FIRST_NAMES = ["Élodie", "Jean  Marc", "Lœtitia", "Bo", "(Elo."]
LAST_NAMES = ["Martin", "O'Élan", "李"]


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


def some_invitations() -> list[Invitation]:
    """Two of each state with everything about them varied, three at a time of the same moment."""
    invitations: list[Invitation] = []
    for number, state in enumerate([*State, *State]):
        invitations.append(
            replace(
                an_invitation(state),
                id=str(uuid4()),
                created_at=NOW + timedelta(minutes=number // 3),
                updated_at=NOW + timedelta(hours=number),
                channel=["email", "sms", "none"][number % 3],
                reason=["451 later", "550 no such user", None][number % 3],
                invitee=an_invitee(
                    member_id=str(UUID(int=100 + number % 5)),
                    first_name=FIRST_NAMES[number % 5],
                    last_name=LAST_NAMES[number % 3],
                    email=f"p{number % 4}@example.com",
                    cabinet_id=CABINETS[number % 2],
                    dossier_id=DOSSIERS[number % 3],
                ),
            )
        )
    return invitations


async def crowd(database: Database) -> None:
    """A thousand invitations, about three at a time of the same moment."""
    made: list[Document] = []
    for number, one in enumerate(some_invitations() * 55):
        created_at = one.created_at + timedelta(milliseconds=number // 18)
        invitation = replace(one, id=str(uuid4()), created_at=created_at, due_at=NOW)
        made.append(to_document(Change(None, invitation, (), ()), []))
    await database[INVITATIONS].insert_many(made)
