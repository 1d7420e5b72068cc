"""What is done while a process dies: by publishers, people, operators and firms."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from convive_contracts.events import DIRECTORY_SOURCE
from tests.crash.guests import Guest, Step, document, publish
from tests.crash.lanes import Lane, persist
from tests.speaking import (
    FOREIGN_SOURCE,
    PASSWORD,
    Answer,
    Dossier,
    Member,
    cloud_event,
    code_of,
    new_address,
    until,
    user_data,
)


async def move(lane: Lane, guest: Guest) -> None:
    """The publisher corrects the address."""
    address = new_address("moved")
    guest.extra["old"] = guest.member.email
    guest.member = Member(guest.member.id, address, FOREIGN_SOURCE)
    guest.data = user_data(guest.member.id, address)
    await lane.bus.send(cloud_event("user.updated", guest.member.id, guest.data), "user.updated")


async def announce_late(lane: Lane, guest: Guest) -> None:
    """Announced after what was set aside has been tried once more in vain."""
    waiting = {"status": "waiting"}
    parked = lane.invitations["parked"]
    tries = (await parked.find_one(waiting))["count"]
    await until(lambda: parked.find_one({**waiting, "count": {"$gt": tries}}), what="it is tried in vain")
    await publish("user.created")(lane, guest)


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


async def accept_both(lane: Lane, guest: Guest) -> None:
    """The person accepts one invitation, and another one that they tick."""
    body = {"also": [guest.extra["also"].invitation_id]}
    answer = await persist(lambda: lane.invitation.call("POST", f"{guest.link}/accept", json=body, token=guest.session))
    done = answer.ok()
    assert [one["outcome"] for one in done["also"]] == ["accepted"]
    guest.code = code_of(done["next"])


def unheard(act: Step) -> Step:
    """Do it while the bus tells the invitation service nothing of accounts: the directory's answer is all it has."""

    async def unheard_act(lane: Lane, guest: Guest) -> None:
        async with lane.deaf_to("account"):
            await act(lane, guest)

    return unheard_act


async def renew(lane: Lane, guest: Guest) -> None:
    """Asked again when nothing was heard: each time may have sent the link once more."""
    guest.extra["presses"] = 0

    async def press() -> Answer:
        guest.extra["presses"] += 1
        return await lane.invitation.call("POST", f"{guest.link}/renew", json={})

    (await persist(press)).ok()


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


async def resend_all(lane: Lane, guest: Guest, **pace: float) -> None:
    """Operators send a new link to everybody of a cabinet; begun again when nothing was heard."""
    body = {"action": "resend", "filter": {"cabinet_id": [guest.data["cabinet"]["id"]]}, "reason": "a test", **pace}
    call = lane.invitation.call
    begun = await persist(lambda: call("POST", "/v1/bulk", json=body, token=lane.ops_token))
    guest.extra["bulk"] = begun.ok(202)["id"]


async def pause_and_resume(lane: Lane, guest: Guest) -> None:
    """The same at a pace that leaves time to pause it; what stands while it rests is noted."""
    await resend_all(lane, guest, rate=1.9)
    path, call = f"/v1/bulk/{guest.extra['bulk']}", lane.invitation.call
    guest.extra["paused"] = (await persist(lambda: call("POST", f"{path}/pause", token=lane.ops_token))).ok(202)
    await lane.rest()
    guest.extra["rested"] = await lane.invitations["bulk"].find_one({"_id": guest.extra["bulk"]})
    (await persist(lambda: call("POST", f"{path}/resume", token=lane.ops_token))).ok(202)


async def erase(lane: Lane, guest: Guest) -> None:
    """Operators erase a person; asked for again when nothing was heard."""
    body = {"email": guest.member.email, "reason": f"a letter about {guest.member.id}"}
    call = lane.invitation.call
    (await persist(lambda: call("POST", "/v1/erasures", json=body, token=lane.ops_token))).ok(202)


async def rebuild(lane: Lane, guest: Guest) -> None:
    """The database is lost."""
    kept = await document(lane, guest)
    guest.extra["kept"] = kept
    if not guest.extra.get("lost"):
        guest.extra["lost"] = True
        await lane.invitations["invitations"].delete_many({})
    await replay_log(lane, guest)


async def extend(lane: Lane, guest: Guest) -> None:
    until_then = (datetime.now(UTC) + timedelta(days=20)).isoformat()
    await operate("extend", {"until": until_then})(lane, guest)
