"""What is going on when the process dies: every way from an event, or a click, to its last write."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_string
from typing import Any
from uuid import uuid4

from convive_contracts import topology
from convive_contracts.events import DIRECTORY_SOURCE
from tests.crash.lanes import Lane, Victim, persist
from tests.running import (
    FOREIGN_SOURCE,
    PASSWORD,
    Answer,
    Cabinet,
    Dossier,
    Mail,
    Member,
    cloud_event,
    code_of,
    new_address,
    removal_data,
    until,
    user_data,
)

OTHER_PASSWORD = "quatre vaches regardent la mer"
_OUTSIDE = frozenset(("sent", "opened", "password_set", "active", "failed", "expired", "revoked", "declined"))


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


# --- what is done -------------------------------------------------------------------------------------------------


def publish(short: str, *, key: str | None = None) -> Step:
    """Somebody publishes, and does so once."""

    async def act(lane: Lane, guest: Guest) -> None:
        data = guest.data if short != "user.removed" else removal_data(guest.data)
        await lane.bus.send(cloud_event(short, guest.member.id, data), key or short)

    return act


async def move(lane: Lane, guest: Guest) -> None:
    """The publisher corrects the address."""
    address = new_address("moved")
    guest.extra["old"] = guest.member.email
    guest.member = Member(guest.member.id, address, FOREIGN_SOURCE)
    guest.data = user_data(guest.member.id, address)
    await lane.bus.send(cloud_event("user.updated", guest.member.id, guest.data), "user.updated")


async def send_rubbish(lane: Lane, guest: Guest) -> None:
    guest.extra["body"] = b"{" + uuid4().bytes
    await lane.bus.send(guest.extra["body"], "user.created")


async def mistype_the_key(lane: Lane, guest: Guest) -> None:
    guest.extra["body"] = uuid4().bytes
    await lane.bus.send(guest.extra["body"], "usr.created")


async def leave_a_rest(lane: Lane, guest: Guest) -> None:
    await lane.invitations["invitations"].update_one(
        {"_id": guest.member.invitation_id}, {"$push": {"outbox": guest.extra["left"]}}
    )


async def ask_for_resend(lane: Lane, guest: Guest) -> None:
    data = {"invitation_id": guest.member.invitation_id, "reason": "asked by phone"}
    await lane.bus.send(
        cloud_event("invitation.resend_requested", data["invitation_id"], data), "invitation.resend_requested"
    )
    guest.links = guest.sends = 2


async def rename_the_cabinet(lane: Lane, guest: Guest) -> None:
    data = {"id": guest.data["cabinet"]["id"], "name": "Cabinet Nouveau", "phone": None}
    event = cloud_event("cabinet.updated", data["id"], data, source=DIRECTORY_SOURCE, sequence=7)
    await lane.bus.send(event, "cabinet.updated")


def click(step: str, body: Mapping[str, Any], *, signed_in: bool = False) -> Step:
    """The person does something with the link, again until there is an answer."""

    async def act(lane: Lane, guest: Guest) -> None:
        token = guest.session if signed_in else None
        answer = await persist(
            lambda: lane.invitation.call("POST", f"{guest.link}/{step}", json=dict(body), token=token)
        )
        # Whoever declined and did not hear so is told at the second try that the link is over.
        done = answer.ok() if answer.status == 200 or step != "decline" else {}
        if "next" in done:
            guest.code = code_of(done["next"])

    return act


def unheard(act: Step) -> Step:
    """Do it while the bus tells the invitation service nothing of accounts: the directory's answer is all it has. (Who
    begins anew declares its bindings anew, so a death ends this too.)"""

    async def unheard_act(lane: Lane, guest: Guest) -> None:
        queue = await lane.bus.channel.get_queue(topology.INVITATION_EVENTS, ensure=False)
        await queue.unbind(topology.EXCHANGE, "account.*")
        try:
            await act(lane, guest)
        finally:
            await queue.bind(topology.EXCHANGE, "account.*")

    return unheard_act


async def renew(lane: Lane, guest: Guest) -> None:
    await click("renew", {})(lane, guest)
    guest.sends = 2


def operate(action: str, body: Mapping[str, Any]) -> Step:
    async def act(lane: Lane, guest: Guest) -> None:
        answer = await persist(lambda: lane.operate(guest.member, action, **body))
        assert answer.status in (202, 409), answer.text

    return act


async def sign_in_with_code(lane: Lane, guest: Guest) -> None:
    """A crash may have used the code up: then the person signs in with the password."""
    answer = await persist(lambda: lane.directory.call("POST", "/v1/sessions", json={"code": guest.code}))
    if answer.status == 401:
        answer = await persist(lambda: lane.sign_in(guest.member.email, PASSWORD))
    guest.session = answer.ok(201)["token"]


async def sign_in(lane: Lane, guest: Guest) -> None:
    guest.session = (await persist(lambda: lane.sign_in(guest.member.email, PASSWORD))).ok(201)["token"]


async def add(lane: Lane, guest: Guest) -> None:
    """The firm's program adds a member, again with the same key until it is told so."""
    assert guest.cabinet is not None
    assert guest.dossier is not None
    headers, email = {"Idempotency-Key": str(uuid4())}, guest.member.email
    body = {"first_name": "Jeannette", "last_name": "Quatremaille", "email": email}
    path, key = f"/v1/dossiers/{guest.dossier.id}/members", guest.cabinet.key
    made = await persist(lambda: lane.directory.call("POST", path, json=body, token=key, headers=headers))
    guest.member = Member(made.ok(201)["id"], email)


async def open_dossier(lane: Lane, guest: Guest) -> None:
    """A new dossier with its member, at once."""
    assert guest.cabinet is not None
    headers, email, key = {"Idempotency-Key": str(uuid4())}, guest.member.email, guest.cabinet.key
    person = {"first_name": "Jeannette", "last_name": "Quatremaille", "email": email}
    body = {"name": "Garage Loiseau", "members": [person]}
    made = await persist(lambda: lane.directory.call("POST", "/v1/dossiers", json=body, token=key, headers=headers))
    done = made.ok(201)
    guest.dossier = Dossier(done["id"], done["name"])

    # Looked up behind the API: a call would be one more that the directory dies of.
    there = await until(lambda: lane.directories["members"].find_one({"dossier_id": done["id"]}), what="a member")
    guest.member = Member(there["_id"], email)


def firm(method: str, path: str, body: Mapping[str, Any] | None, *expected: int) -> Step:
    """A call of the firm's program about the member, again until it is answered."""

    async def act(lane: Lane, guest: Guest) -> None:
        assert guest.cabinet is not None
        assert guest.dossier is not None
        key, url = guest.cabinet.key, path.format(member=guest.path, dossier=f"/v1/dossiers/{guest.dossier.id}")
        answer = await persist(lambda: lane.directory.call(method, url, json=body, token=key))
        assert answer.status in expected, answer.text

    return act


async def correct_the_address(lane: Lane, guest: Guest) -> None:
    address = new_address("corrected")
    guest.extra["old"] = guest.member.email
    await firm("PATCH", "{member}", {"email": address}, 200)(lane, guest)
    guest.member = Member(guest.member.id, address)


async def invite_again(lane: Lane, guest: Guest) -> None:
    """Pressed again when nothing was heard: each press may have made a link."""
    guest.extra["presses"] = 0

    async def press() -> Answer:
        guest.extra["presses"] += 1
        assert guest.cabinet is not None
        return await lane.directory.call(
            "POST", f"{guest.path}/invitation", json={"invite_by": "email"}, token=guest.cabinet.key
        )

    assert (await persist(press)).status == 202


async def start_replay(lane: Lane, guest: Guest, origin: str, filter: Mapping[str, Any]) -> None:
    body = {"from": origin, "filter": filter, "reason": "a test"}
    call = lane.invitation.call
    begun = await persist(lambda: call("POST", "/v1/replays", json=body, token=lane.ops_token))
    guest.extra["replay"] = begun.ok(202)["id"]


async def replay_parked(lane: Lane, guest: Guest) -> None:
    guest.links = guest.sends = 2
    await start_replay(lane, guest, "parked", {"member_id": [guest.member.id]})


async def replay_log(lane: Lane, guest: Guest) -> None:
    await start_replay(lane, guest, "log", {"member_id": [guest.member.id]})


async def rebuild(lane: Lane, guest: Guest) -> None:
    """The database is lost."""
    kept = await document(lane, guest)
    guest.extra["kept"] = kept
    if not guest.extra.get("lost"):
        guest.extra["lost"] = True
        await lane.invitations["invitations"].delete_many({})
    await replay_log(lane, guest)


# --- what is true afterwards --------------------------------------------------------------------------------------


async def document(lane: Lane, guest: Guest) -> dict[str, Any]:
    return await lane.invitations["invitations"].find_one({"_id": guest.member.invitation_id}) or {}


async def sound(lane: Lane, guest: Guest, *states: str) -> dict[str, Any]:
    """The invitation stands where it should, once, and the events tell exactly its history."""
    found = await document(lane, guest)
    assert found.get("state") in states, found
    told: dict[str, dict[str, Any]] = {}
    for event in await lane.hear():
        about = event["data"].get("invitation_id") if isinstance(event["data"], dict) else None
        if event["source"] == "/convive/invitation" and about == guest.member.invitation_id:
            assert told.setdefault(event["id"], event) == event, "one event id, two events"
    in_order = sorted(told.values(), key=lambda event: int(event["sequence"]))
    sequences = [int(event["sequence"]) for event in in_order]
    assert len(set(sequences)) == len(sequences), sequences
    assert not sequences or sequences[-1] <= found["version"]
    # A claim, a release and an armed rebuild are saves that tell nothing.
    steps = [step for step in found["history"] if step["from"] != step["to"] or step["trigger"] == "extended"]
    if "replay" not in guest.extra:
        wanted = [
            "extended" if step["trigger"] == "extended" else step["to"] for step in steps if step["to"] in _OUTSIDE
        ]
        assert [event["type"].split(".")[2] for event in in_order] == wanted
    return found


async def mails_within_bound(lane: Lane, guest: Guest) -> list[Mail]:
    """At least every send arrived, at most one of them twice, and the copies are the same message."""
    mails = await lane.mails(guest.member.email)
    by_id: dict[str, set[str]] = {}
    for mail in mails:
        by_id.setdefault(str(message_from_string(mail.source)["Message-ID"]), set()).add(mail.link)
    assert guest.sends <= len(mails) <= guest.sends + 1, f"{len(mails)} mails for {guest.sends} sends"
    assert len(by_id) == guest.sends, by_id
    assert all(len(links) == 1 for links in by_id.values()), by_id
    assert len({link for links in by_id.values() for link in links}) <= guest.links
    return mails


async def way_in_is_open(lane: Lane, guest: Guest) -> None:
    """The person goes on with the newest link, comes in, and everybody who may look sees so."""
    link = (await lane.mails(guest.member.email))[0].link
    answer = (await lane.redeem(link)).ok()
    guest.code = code_of(answer["next"])
    await sign_in_with_code(lane, guest)
    await is_in(lane, guest)


async def is_in(lane: Lane, guest: Guest) -> None:
    """Exactly one password works, the invitation is active, and the firm sees the first sign-in."""
    await lane.rest()
    await sound(lane, guest, "active")
    assert (await lane.sign_in(guest.member.email, PASSWORD)).status == 201
    assert (await lane.sign_in(guest.member.email, OTHER_PASSWORD)).status == 401
    accounts = [one async for one in lane.directories["accounts"].find({"_id": guest.member.email})]
    assert len(accounts) == 1
    if guest.cabinet is not None:
        shown = (await lane.directory.call("GET", guest.path, token=guest.cabinet.key)).ok()
        assert shown["has_signed_in"] is True
        assert shown["invitation"]["state"] == "active"


async def is_dead(lane: Lane, guest: Guest) -> None:
    """No link that was ever mailed leads in."""
    for mail in await lane.mails(guest.member.email):
        assert (await lane.invitation.call("GET", mail.link)).status == 410
        assert (await lane.redeem(mail.link, OTHER_PASSWORD)).status == 410
    assert await lane.directories["accounts"].find_one({"_id": guest.member.email}) is None


async def sent_once(lane: Lane, guest: Guest) -> None:
    await sound(lane, guest, "sent")
    await mails_within_bound(lane, guest)
    await way_in_is_open(lane, guest)


async def removed(lane: Lane, guest: Guest) -> None:
    await sound(lane, guest, "revoked")
    await mails_within_bound(lane, guest)
    await is_dead(lane, guest)


async def moved(lane: Lane, guest: Guest) -> None:
    found = await sound(lane, guest, "sent")
    assert found["link_sequence"] == 2
    assert len(await lane.mails(guest.extra["old"])) == 1
    assert (await lane.redeem(guest.link, OTHER_PASSWORD)).status == 410
    await mails_within_bound(lane, guest)
    await way_in_is_open(lane, guest)


async def kept_aside(lane: Lane, guest: Guest) -> None:
    found = [one async for one in lane.invitations["parked"].find({"body": guest.extra["body"]})]
    assert len(found) == 1
    assert found[0]["status"] == "parked"


async def resent(lane: Lane, guest: Guest) -> None:
    found = await sound(lane, guest, "sent")
    assert found["link_sequence"] == 2
    # The old link opens nothing: it was superseded.
    assert (await lane.redeem(guest.link, OTHER_PASSWORD)).status == 410
    await mails_within_bound(lane, guest)
    await way_in_is_open(lane, guest)


async def resent_as_often_as_pressed(lane: Lane, guest: Guest) -> None:
    """A press that was answered made one link; one that was not made one or none."""
    found = await sound(lane, guest, "sent")
    presses = guest.extra.get("presses", 2)
    assert 2 <= found["link_sequence"] <= 1 + presses
    guest.links = guest.sends = found["link_sequence"]
    assert (await lane.redeem(guest.link, OTHER_PASSWORD)).status == 410
    mails = await lane.mails(guest.member.email)
    # A link superseded before its mail went out is not mailed.
    assert 2 <= len(mails) <= guest.sends + 1
    await way_in_is_open(lane, guest)


async def learnt(lane: Lane, guest: Guest) -> None:
    names = await lane.invitations["names"].find_one({"_id": f"cabinet:{guest.data['cabinet']['id']}"})
    assert names["name"] == "Cabinet Nouveau"


async def revoked_at_last(lane: Lane, guest: Guest) -> None:
    """What was set aside has had its effect, once, and waits no more."""
    await sound(lane, guest, "revoked")
    parked = lane.invitations["parked"]
    await until(lambda: parked.find_one({"slug": "unknown_invitation", "status": "replayed"}), what="it waits no more")
    assert len(await lane.mails(guest.member.email)) <= 2


async def opened(lane: Lane, guest: Guest) -> None:
    await sound(lane, guest, "opened")
    await mails_within_bound(lane, guest)
    await way_in_is_open(lane, guest)


async def has_a_password(lane: Lane, guest: Guest) -> None:
    """Nobody else's password works, and the one who was told so signs in."""
    await sound(lane, guest, "password_set")
    assert (await lane.redeem(guest.link, OTHER_PASSWORD)).status == 409
    await sign_in_with_code(lane, guest)
    await is_in(lane, guest)


async def accepted(lane: Lane, guest: Guest) -> None:
    await sign_in_with_code(lane, guest)
    await is_in(lane, guest)
    places = await lane.me(guest.session)
    assert len(places["dossiers"]) == 2


async def declined(lane: Lane, guest: Guest) -> None:
    await sound(lane, guest, "declined")
    await is_dead(lane, guest)


async def revoked(lane: Lane, guest: Guest) -> None:
    await sound(lane, guest, "revoked")
    await is_dead(lane, guest)


async def extended(lane: Lane, guest: Guest) -> None:
    """Extending twice to the same moment is extending."""
    found = await document(lane, guest)
    assert found["state"] == "sent"
    assert found["expires_at"] > datetime.now(UTC) + timedelta(days=19)
    await way_in_is_open(lane, guest)


async def extend(lane: Lane, guest: Guest) -> None:
    until_then = (datetime.now(UTC) + timedelta(days=20)).isoformat()
    await operate("extend", {"until": until_then})(lane, guest)


async def replayed(lane: Lane, guest: Guest) -> None:
    found = await lane.invitations["replays"].find_one({"_id": guest.extra["replay"]})
    assert found["status"] == "done"
    assert found["failed"] == 0
    still_parked = {"status": "parked", "slug": "unknown_invitation"}
    assert await lane.invitations["parked"].find_one(still_parked) is None
    found = await sound(lane, guest, "sent")
    assert found["link_sequence"] == guest.links
    await mails_within_bound(lane, guest)
    await way_in_is_open(lane, guest)


async def rebuilt(lane: Lane, guest: Guest) -> None:
    """Everything that matters is back, and nothing was sent again."""
    found = await document(lane, guest)
    kept = guest.extra["kept"]
    same = ("state", "link_sequence", "send_sequence", "expires_at", "member", "dossier", "cabinet", "channel")
    assert {name: found.get(name) for name in same} == {name: kept.get(name) for name in same}
    assert "disarmed" not in found
    await mails_within_bound(lane, guest)
    await way_in_is_open(lane, guest)


def stands(state: str, **numbers: int) -> Callable[[Lane, Guest], Awaitable[Any]]:
    """Over once the invitation is in that state, with at least those numbers."""

    async def over(lane: Lane, guest: Guest) -> Any:
        found = await document(lane, guest)
        return found.get("state") == state and all(found[name] >= number for name, number in numbers.items())

    return over


async def is_kept_aside(lane: Lane, guest: Guest) -> Any:
    return await lane.invitations["parked"].find_one({"body": guest.extra["body"]})


async def is_learnt(lane: Lane, guest: Guest) -> Any:
    return await lane.invitations["names"].find_one({"_id": f"cabinet:{guest.data['cabinet']['id']}"})


async def is_replayed(lane: Lane, guest: Guest) -> Any:
    return await lane.invitations["replays"].find_one({"_id": guest.extra["replay"], "status": "done"})


_NEW = {"password": PASSWORD}
SENT = stands("sent")
SENT_AGAIN = stands("sent", send_sequence=2)
ACTIVE = stands("active")
PASSWORD_SET = stands("password_set")
INVITE = publish("user.created")
INVITE_IN_BULK = publish("user.created", key="user.created.bulk")
REMOVE = publish("user.removed")
CHOOSE = click("password", _NEW)
SIGN_IN_AND_ACCEPT = click("accept", _NEW)
ACCEPT = click("accept", {}, signed_in=True)
OPEN = click("open", {"proof": "input"})
DECLINE = click("decline", {"reason": "not_wanted"})
REMOVE_MEMBER = firm("DELETE", "{member}", None, 204, 404)
ARCHIVE = firm("DELETE", "{dossier}", None, 204, 404)
RESEND, REVOKE = operate("resend", {}), operate("revoke", {"reason": "left"})
DUE, SWEEP, REPLAY, FINISH = ("DueLoop.run",), ("Relay.run",), ("Runner.run",), ("Membership.run",)
WAIT = ("WaitingRoom.run",)


def _all() -> dict[str, Scenario]:
    rows: tuple[tuple[str, str, Any, Any, Any, Any, tuple[str, ...]], ...] = (
        # what happens, who dies, what is there before, what is done, when it is over, what is true then, loops
        ("a person is invited", "i", foreign, INVITE, SENT, sent_once, ()),
        ("a person is invited in bulk", "i", foreign, INVITE_IN_BULK, SENT, sent_once, DUE),
        ("a person is removed", "i", invited, REMOVE, stands("revoked"), removed, ()),
        ("an address changes", "i", invited, move, SENT_AGAIN, moved, ()),
        ("rubbish is parked", "i", foreign, send_rubbish, is_kept_aside, kept_aside, ()),
        ("a mistyped key is parked", "i", foreign, mistype_the_key, is_kept_aside, kept_aside, ()),
        ("a rest in the outbox is swept", "i", with_a_rest_in_the_outbox, leave_a_rest, SENT, sent_once, SWEEP),
        ("a resend is requested", "i", invited, ask_for_resend, SENT_AGAIN, resent, ()),
        ("a request has waited", "i", asked_about_too_early, INVITE, stands("revoked"), revoked_at_last, WAIT),
        ("a cabinet is renamed", "i", foreign, rename_the_cabinet, is_learnt, learnt, ()),
        ("a person acts on the page", "i", invited, OPEN, stands("opened"), opened, ()),
        ("a person chooses a password", "id", own_member, CHOOSE, PASSWORD_SET, has_a_password, ()),
        ("a person signs in and accepts", "id", with_account, SIGN_IN_AND_ACCEPT, ACTIVE, accepted, ()),
        ("a person who is signed in accepts", "id", with_account, ACCEPT, ACTIVE, accepted, ()),
        ("a password is chosen, unheard", "i", own_member, unheard(CHOOSE), PASSWORD_SET, has_a_password, ()),
        ("an account accepts, unheard", "i", with_account, unheard(SIGN_IN_AND_ACCEPT), ACTIVE, accepted, ()),
        ("a person signs in with the code", "id", with_password, sign_in_with_code, ACTIVE, is_in, ()),
        ("a person signs in with the password", "d", with_password, sign_in, ACTIVE, is_in, ()),
        ("a person asks for the link again", "i", invited, renew, SENT_AGAIN, sent_once, ()),
        ("a person declines", "i", invited, DECLINE, stands("declined"), declined, ()),
        ("operators resend", "i", invited, RESEND, SENT_AGAIN, resent_as_often_as_pressed, ()),
        ("operators revoke", "i", invited, REVOKE, stands("revoked"), revoked, ()),
        ("operators extend", "i", invited, extend, SENT, extended, ()),
        ("a firm adds a member", "d", to_be_added, add, SENT, sent_once, ()),
        ("a firm opens a dossier with a member", "d", to_be_added, open_dossier, SENT, sent_once, FINISH),
        ("a firm removes a member", "d", own_member, REMOVE_MEMBER, stands("revoked"), removed, ()),
        ("a firm corrects an address", "d", own_member, correct_the_address, SENT_AGAIN, moved, ()),
        ("a firm invites again", "d", own_member, invite_again, SENT_AGAIN, resent_as_often_as_pressed, ()),
        ("a firm archives a dossier", "d", own_member, ARCHIVE, stands("revoked"), removed, FINISH),
        ("parked messages are replayed", "i", refused, replay_parked, is_replayed, replayed, REPLAY),
        ("the log is replayed", "i", invited, replay_log, is_replayed, replayed, REPLAY),
        ("the database is rebuilt", "i", invited, rebuild, is_replayed, rebuilt, REPLAY),
    )
    victims: dict[str, Victim] = {"i": "invitation", "d": "directory"}
    return {
        f"{what}, {victims[who]} dies": Scenario(victims[who], prepare, act, check, loops, over)
        for what, whom, prepare, act, over, check, loops in rows
        for who in whom
    }


SCENARIOS = _all()
