"""Whom something happens to while a process dies, and what is there before."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from convive_contracts.events import INVITATION_SOURCE
from tests.crash.lanes import Lane, Victim
from tests.speaking import (
    FOREIGN_SOURCE,
    Cabinet,
    Dossier,
    Member,
    cloud_event,
    code_of,
    new_address,
    removal_data,
    until,
    user_data,
)


@dataclass
class Guest:
    """A person on their way in, and what the test knows of them."""

    member: Member
    data: dict[str, Any] = field(default_factory=dict[str, Any])
    cabinet: Cabinet | None = None
    dossier: Dossier | None = None
    link: str = ""
    links: int = 1
    sends: int = 1
    session: str = ""
    code: str = ""
    extra: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def path(self) -> str:
        """The member in the directory's API."""
        assert self.dossier is not None
        return f"/v1/dossiers/{self.dossier.id}/members/{self.member.id}"


Step = Callable[[Lane, Guest], Awaitable[None]]


@dataclass(frozen=True)
class Scenario:
    """`act` is what is cut short: it goes on until it succeeds, as people and programs do. `check` holds at rest."""

    victim: Victim
    prepare: Callable[[Lane], Awaitable[Guest]]
    act: Step
    check: Step
    loops: tuple[str, ...]
    over: Callable[[Lane, Guest], Awaitable[Any]]
    """What shows that all that was asked for has begun; then what remains is to wait for rest."""


def publish(short: str, *, key: str | None = None) -> Step:
    """Somebody publishes, and does so once."""

    async def act(lane: Lane, guest: Guest) -> None:
        data = guest.data if short != "user.removed" else removal_data(guest.data)
        await lane.bus.send(cloud_event(short, guest.member.id, data), key or short)

    return act


async def document(lane: Lane, guest: Guest) -> dict[str, Any]:
    return await lane.invitations["invitations"].find_one({"_id": guest.member.invitation_id}) or {}


# --- what is there before -----------------------------------------------------------------------------------------


async def foreign(lane: Lane) -> Guest:
    """Somebody whom another publisher is about to invite."""
    member = Member(str(uuid4()), new_address(), FOREIGN_SOURCE)
    return Guest(member, user_data(member.id, member.email))


async def invited(lane: Lane) -> Guest:
    """Somebody whom another publisher has invited: the mail is there."""
    guest = await foreign(lane)
    await publish("user.created")(lane, guest)
    guest.link = (await lane.mail(guest.member.email)).link
    return guest


async def known_to_the_log_alone(lane: Lane) -> Guest:
    """Somebody of whom nothing is known but what the log tells, and who was never written to."""
    guest = await foreign(lane)
    async with lane.deaf_to("user"):
        await publish("user.created")(lane, guest)
    return guest


async def invited_beside_another(lane: Lane) -> Guest:
    """Somebody invited to the dossier of somebody whose invitation was revoked."""
    guest = await invited(lane)
    other = Member(str(uuid4()), new_address(), FOREIGN_SOURCE)
    place = {name: guest.data[name] for name in ("cabinet", "dossier")}
    event = cloud_event("user.created", other.id, user_data(other.id, other.email, **place))
    await lane.bus.send(event, "user.created")
    await lane.mail(other.email)
    (await lane.operate(other, "revoke")).ok(202)
    return guest


async def invited_beside_others(lane: Lane) -> Guest:
    """Somebody invited to the dossier of two others whose invitations were revoked."""
    guest = await invited_beside_another(lane)
    other = Member(str(uuid4()), new_address(), FOREIGN_SOURCE)
    place = {name: guest.data[name] for name in ("cabinet", "dossier")}
    event = cloud_event("user.created", other.id, user_data(other.id, other.email, invite_by="none", **place))
    await lane.bus.send(event, "user.created")

    async def revoked() -> bool:
        return (await lane.operate(other, "revoke")).status == 202

    await until(revoked)
    return guest


async def own_member(lane: Lane) -> Guest:
    """A member of the directory's, with the mail in the inbox."""
    cabinet = await lane.new_cabinet()
    dossier = await lane.new_dossier(cabinet)
    member = await lane.add_member(cabinet, dossier)
    return Guest(member, {}, cabinet, dossier, (await lane.mail(member.email)).link)


async def with_account(lane: Lane) -> Guest:
    """Somebody who has an account already and is invited to a second dossier."""
    cabinet = await lane.new_cabinet()
    member = await lane.add_member(cabinet, await lane.new_dossier(cabinet))
    session = await lane.come_in(member)
    dossier = await lane.new_dossier(cabinet)
    second = await lane.add_member(cabinet, dossier, member.email)
    mail = await lane.mail(member.email, count=2)
    return Guest(second, {}, cabinet, dossier, mail.link, session=session)


async def with_two_to_accept(lane: Lane) -> Guest:
    """Somebody who has an account already and is invited to two more dossiers."""
    guest = await with_account(lane)
    assert guest.cabinet is not None
    third = await lane.add_member(guest.cabinet, await lane.new_dossier(guest.cabinet), guest.member.email)
    await lane.mail(guest.member.email, count=3)
    guest.extra["also"] = third
    return guest


async def known_everywhere(lane: Lane) -> Guest:
    """Somebody with an account and two invitations, of whom messages speak that either service has parked."""
    guest = await with_account(lane)
    said = {"member_id": guest.member.id, "email": guest.member.email}
    for service, source, short in (
        (lane.invitations, FOREIGN_SOURCE, "user.created"),
        (lane.directories, INVITATION_SOURCE, "invitation.sent"),
    ):
        event = cloud_event(short, guest.member.id, said, source=source)
        await lane.bus.send(event, short)
        speaks_of_it: dict[str, Any] = {"body": json.dumps(event).encode()}
        await until(lambda parked=service["parked"], which=speaks_of_it: parked.find_one(which), what="it is parked")
    return guest


async def with_password(lane: Lane) -> Guest:
    """Somebody who has chosen the password and is not signed in yet."""
    guest = await own_member(lane)
    guest.code = code_of((await lane.redeem(guest.link)).ok()["next"])
    return guest


async def to_be_added(lane: Lane) -> Guest:
    """Somebody whom a firm is about to add."""
    cabinet = await lane.new_cabinet()
    dossier = await lane.new_dossier(cabinet)
    return Guest(Member("", new_address()), {}, cabinet, dossier)


async def refused(lane: Lane) -> Guest:
    """Somebody invited, after a request about the invitation was parked because nobody knew it."""
    guest = await foreign(lane)
    id = guest.member.invitation_id
    event = cloud_event(
        "invitation.resend_requested", id, {"invitation_id": id}, time=datetime.now(UTC) - timedelta(hours=1)
    )
    await lane.bus.send(event, "invitation.resend_requested")
    parked = lane.invitations["parked"]
    await until(lambda: parked.find_one({"slug": "unknown_invitation", "status": "parked"}), what="it is parked")
    await publish("user.created")(lane, guest)
    guest.link = (await lane.mail(guest.member.email)).link
    return guest


async def asked_about_too_early(lane: Lane) -> Guest:
    """Somebody who is about to be invited, and whose invitation was taken back before: that was set aside."""
    guest = await foreign(lane)
    # Without a mail: whether that or what was set aside comes first would be a matter of luck.
    guest.data["invite_by"] = "none"
    id = guest.member.invitation_id
    event = cloud_event("invitation.revoke_requested", id, {"invitation_id": id})
    await lane.bus.send(event, "invitation.revoke_requested")
    parked = lane.invitations["parked"]
    await until(lambda: parked.find_one({"status": "waiting"}), what="it is set aside")
    return guest


async def with_a_rest_in_the_outbox(lane: Lane) -> Guest:
    """An event that was committed long ago and never published."""
    guest = await invited(lane)
    await lane.rest()
    told = [e for e in await lane.hear() if e["type"] == "convive.invitation.sent.v1"][-1]
    guest.extra["left"] = {
        "id": told["id"],
        "at": datetime.now(UTC) - timedelta(minutes=5),
        "key": "invitation.sent",
        "body": json.dumps(told).encode(),
    }
    return guest
