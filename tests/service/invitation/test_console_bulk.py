"""Bulk operations at the console: a look, the deed, a rest, and the end of it."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.running import Stack
from tests.service.invitation.console import Operator, operator, words
from tests.speaking import Answer, Cabinet, Member, until


async def some_members(stack: Stack, number: int) -> tuple[Cabinet, list[Member]]:
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    members = [await stack.add_member(cabinet, dossier) for _ in range(number)]
    for member in members:
        await stack.until_state(member, "sent")
    return cabinet, members


async def shows(one: Operator, place: str, said: str) -> Answer:
    async def there() -> bool:
        return said in words(await one.get(place))

    await until(there, within=30, what=f"{place} says {said}")
    return await one.get(place)


async def test_a_look_counts_and_the_deed_is_done_to_the_same_filter(stack: Stack) -> None:
    cabinet, members = await some_members(stack, 3)
    (await stack.operate(members[0], "revoke")).ok(202)
    name = f"anne.{uuid4().hex[:8]}"
    one = await operator(stack, "writer", name)
    query = f"cabinet_id={cabinet.id}&q=jeannette"
    listed = await one.get(f"/ops/invitations?{query}")
    assert f'href="/ops/bulk/new?{query.replace("&", "&amp;")}"' in listed.text
    assert cabinet.id in words(await one.get(f"/ops/bulk/new?{query}"))

    begun = await one.post("/ops/bulk", query=query, action="resend", reason="the mails were lost")
    look = await shows(one, begun.headers["Location"], "Finished")

    assert "Fitting 3 Would be done 2 Skipped: revoked 1" in words(look)
    assert "Do it to these 2" in words(look)
    assert (await stack.detail(members[1]))["link_sequence"] == 1
    begun = await one.post("/ops/bulk", query=query, action="resend", reason="the mails were lost", go="yes")
    deed = await shows(one, begun.headers["Location"], "Finished")
    assert "Fitting 3 Done 2 Skipped: revoked 1" in words(deed)
    for member in members[1:]:
        await stack.mail(member.email, count=2)
    assert begun.headers["Location"] in (await one.get("/ops/bulk")).text
    assert "jeannette" not in (await one.get("/ops/bulk")).text
    path = f"/v1/audit?actor=ops:{name}"
    records = (await stack.invitation.call("GET", path, token=stack.ops_token)).ok()["items"]
    assert [record["action"] for record in records] == ["bulk.resend", "bulk.resend"]


async def test_it_rests_goes_on_and_is_aborted(stack: Stack) -> None:
    cabinet, members = await some_members(stack, 5)
    one = await operator(stack)
    await one.get("/ops/bulk")
    query = f"cabinet_id={cabinet.id}"
    begun = await one.post("/ops/bulk", query=query, action="revoke", reason="a mistake", rate="0.5", go="yes")
    place = begun.headers["Location"]

    await shows(one, place, "Done 1")
    paused = await one.follow(await one.post(f"{place}/pause"))
    assert "Paused" in words(paused)
    assert "Under way" in words(await one.follow(await one.post(f"{place}/resume")))
    aborted = await one.follow(await one.post(f"{place}/abort"))
    assert "Aborted" in words(aborted)
    assert f"{place}/" not in aborted.text
    assert "sent" in [(await stack.detail(member))["state"] for member in members]


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"query": ""}, "body"),
        ({"action": "extend"}, "body"),
        ({"action": "extend", "until": "2020-01-01"}, "until"),
        ({"reason": ""}, "reason"),
        ({"query": "state=gone"}, "state.0"),
        ({"rate": "0"}, "rate"),
    ],
)
async def test_what_makes_no_sense_is_said_above_the_form(stack: Stack, form: dict[str, str], field: str) -> None:
    one = await operator(stack)
    await one.get("/ops/bulk")
    sound = {"query": f"cabinet_id={uuid4()}", "action": "revoke", "reason": "x"}
    answer = await one.post("/ops/bulk", **{**sound, **form})  # pyright: ignore[reportArgumentType]
    assert (answer.status, f"<code>{field}</code>" in answer.text) == (422, True), words(answer)


async def test_a_reader_follows_and_does_nothing(stack: Stack) -> None:
    cabinet, _ = await some_members(stack, 1)
    writer, reader = await operator(stack), await operator(stack, "reader")
    await writer.get("/ops/bulk")
    query = f"cabinet_id={cabinet.id}"
    place = (await writer.post("/ops/bulk", query=query, action="revoke", reason="x")).headers["Location"]
    page = await shows(reader, place, "Finished")
    assert 'action="/ops/bulk"' not in page.text
    assert "/ops/bulk/new" not in (await reader.get(f"/ops/invitations?{query}")).text
    assert (await reader.post("/ops/bulk", query=query, action="revoke", reason="x")).status == 403
