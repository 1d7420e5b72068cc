"""What is true once all that was asked for has come to its end, whoever died at it, and how that is seen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from email import message_from_string
from typing import Any

from tests.crash.acts import sign_in_with_code
from tests.crash.guests import Guest, document
from tests.crash.lanes import Lane
from tests.speaking import PASSWORD, Mail, code_of, until

OTHER_PASSWORD = "quatre vaches regardent la mer"
_OUTSIDE = frozenset(("sent", "opened", "password_set", "active", "failed", "expired", "revoked", "declined"))


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
    if "replay" not in guest.extra:
        wanted = [fact for step in found["history"] if (fact := fact_of(step)) is not None]
        wanted += ["erased"] if found.get("erased") else []
        assert [event["type"].split(".")[2] for event in in_order] == wanted
    return found


def fact_of(step: Mapping[str, Any]) -> str | None:
    """What others are told of a step. A claim, a release and an armed rebuild tell nothing; every send does."""
    if step["trigger"] == "extended":
        return "extended"
    if step["trigger"] == "accepted" and step["from"] in ("sent", "opened"):
        return None if {"of_send", "kept"} & (step.get("detail") or {}).keys() else "sent"
    return step["to"] if step["from"] != step["to"] and step["to"] in _OUTSIDE else None


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


async def sent_again_as_often_as_asked(lane: Lane, guest: Guest) -> None:
    """Asking that was answered sent the same link once more; asking that was not did so or did nothing."""
    found = await sound(lane, guest, "sent")
    assert found["link_sequence"] == 1
    assert 2 <= found["send_sequence"] <= 1 + guest.extra["presses"]
    guest.sends = found["send_sequence"]
    await mails_within_bound(lane, guest)
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


async def both_accepted(lane: Lane, guest: Guest) -> None:
    await sign_in_with_code(lane, guest)
    await is_in(lane, guest)
    assert len((await lane.me(guest.session))["dossiers"]) == 3
    await lane.until_state(guest.extra["also"], "active")


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


async def runs_of(lane: Lane, guest: Guest) -> list[dict[str, Any]]:
    """The bulk operations over the guest's cabinet."""
    found = lane.invitations["bulk"].find({"filter.cabinet_id": [guest.data["cabinet"]["id"]]})
    return [run async for run in found]


async def all_resent(lane: Lane, guest: Guest, *, others: int = 1) -> None:
    """Each operation that was begun came to its end and did its work on each invitation once."""
    runs = await runs_of(lane, guest)
    for run in runs:
        counts = tuple(run[name] for name in ("status", "matched", "done", "skipped", "failed"))
        assert counts == ("done", 1 + others, 1, {"revoked": others}, 0)
        of_the_run = {"_id": {"$regex": f"^{run['_id']}/"}}
        assert await lane.invitations["bulk_items"].find_one(of_the_run) is None
    assert (await document(lane, guest))["link_sequence"] == 1 + len(runs)
    guest.extra["presses"] = len(runs)
    await resent_as_often_as_pressed(lane, guest)


async def rested_and_resent(lane: Lane, guest: Guest) -> None:
    """Once paused, no more was done than what was in hand; and then all of it, once. The audit tells of both steps."""
    paused, rested = guest.extra["paused"], guest.extra["rested"]
    assert rested["status"] == paused["status"]
    if paused["status"] != "done":  # a crash may have taken longer than all there was to do
        assert paused["status"] == "paused"
        assert handled(paused) <= handled(rested) <= handled(paused) + 1
    for step in ("pause", "resume"):
        target = {"target": f"bulk:{guest.extra['bulk']}", "action": f"bulk.{step}", "outcome": "done"}
        assert await lane.invitations["audit"].find_one(target), f"nobody knows of the {step}"
    await all_resent(lane, guest, others=2)


def handled(run: Mapping[str, Any]) -> int:
    """How many of its set a run is done with."""
    return run["done"] + sum(run["skipped"].values())


async def erased(lane: Lane, guest: Guest) -> None:
    """The address stands nowhere in either service, whatever was half done; who was in is out, and others were told
    of each invitation once."""
    for run in await erasures_of(lane, guest):
        assert (run["status"], run["failed"], run["email"]) == ("done", 0, None)
        assert run["done"] == run["matched"] == run["position"]
    for database in (lane.invitations, lane.directories):
        for name in await database.list_collection_names():
            async for kept in database[name].find():
                assert guest.member.email not in repr(kept), f"still in {name}"
    found = await sound(lane, guest, "revoked")
    assert not any("detail" in step for step in found["history"])
    told = {event["id"] for event in await lane.hear() if event["type"] == "convive.invitation.erased.v1"}
    assert len(told) == 2
    assert (await lane.redeem(guest.link, OTHER_PASSWORD)).status == 410
    assert (await lane.sign_in(guest.member.email, PASSWORD)).status == 401
    assert (await lane.directory.call("GET", "/v1/me", token=guest.session)).status == 401


async def erasures_of(lane: Lane, guest: Guest) -> list[dict[str, Any]]:
    """The erasures of the guest, by the reason they were given."""
    found = lane.invitations["erasures"].find({"reason": f"a letter about {guest.member.id}"})
    return [run async for run in found]


async def rebuilt(lane: Lane, guest: Guest) -> None:
    """Everything that matters is back, and nothing was sent again."""
    found = await document(lane, guest)
    kept = guest.extra["kept"]
    same = ("state", "link_sequence", "send_sequence", "expires_at", "member", "dossier", "cabinet", "channel")
    assert {name: found.get(name) for name in same} == {name: kept.get(name) for name in same}
    assert "due_at" in found or "due_once_armed" in found
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


async def is_done_to_all(lane: Lane, guest: Guest) -> Any:
    runs = await runs_of(lane, guest)
    return runs and all(run["status"] == "done" for run in runs) and await SENT_AGAIN(lane, guest)


async def is_erased(lane: Lane, guest: Guest) -> Any:
    """Here, and by the event in the directory."""
    runs = await erasures_of(lane, guest)
    known = await lane.directories["members"].find_one({"email": guest.member.email})
    return runs and all(run["status"] == "done" for run in runs) and known is None


async def is_replayed(lane: Lane, guest: Guest) -> Any:
    return await lane.invitations["replays"].find_one({"_id": guest.extra["replay"], "status": "done"})


SENT_AGAIN = stands("sent", send_sequence=2)
