"""Stores of invitations under test, on every driver, and what the database did for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from convive_kit.group_commit import GroupCommit
from convive_kit.mongo import Client, Database
from convive_kit.outbox import OutboxEntry
from invitation.lifecycle.invitation import Change, Invitation
from invitation.lifecycle.states import State
from invitation.store.mongo import INVITATIONS, MongoStore
from invitation.store.protocol import Store
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


async def explain(made: Made, run: Any, collection: str = INVITATIONS) -> str:
    """How the database found what `run` asks for; of several queries, the last. None may sort in memory or read all."""
    assert made.database is not None
    await made.database.command("profile", 2)
    await run()
    await made.database.command("profile", 0)
    namespace = f"{made.database.name}.{collection}"
    profiled = await made.database["system.profile"].find({"ns": namespace, "op": "query"}).sort("ts", 1).to_list(10)
    await made.database["system.profile"].drop()
    assert profiled
    for query in profiled:
        assert not (query.get("hasSortStage", False) and query["keysExamined"] > 0), query["planSummary"]
        assert "COLLSCAN" not in query["planSummary"]
    return profiled[-1]["planSummary"]
