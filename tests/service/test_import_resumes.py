"""The directory is killed in the middle of an import, several times; everybody is added once and invited once."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from tests.speaking import until
from tests.stacks import OwnStack

ROWS = 1200


async def test_an_import_goes_on_where_a_kill_cut_it_off(own_stack: OwnStack) -> None:
    stack = await own_stack()
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    addresses = [f"person.{number}@example.com" for number in range(ROWS)]
    stack.private |= {*addresses}
    rows = [f"Zoe,Quatremaille,{address}" for address in addresses]
    table = "\n".join(["First name,Last name,E-mail", *rows]).encode()
    path, headers = f"/v1/imports?dossier_id={dossier.id}", {"Content-Type": "text/csv"}
    made = (await stack.directory.call("POST", path, data=table, headers=headers, token=cabinet.key)).ok(201)
    one = f"/v1/imports/{made['id']}"

    async def told() -> Any:
        return (await stack.directory.call("GET", one, token=cabinet.key)).ok()

    async with stack.listening("user.created.bulk") as heard:
        (await stack.directory.call("POST", f"{one}/start", json={"invite_by": "none"}, token=cabinet.key)).ok(202)
        kills = 0
        for share in (1, 600):

            async def begun(share: int = share) -> Any:
                now = await told()
                return now if now["added"] >= share or now["state"] == "done" else None

            kills += (await until(begun, within=30, what=f"{share} are added"))["state"] == "running"
            stack.directory_service.process.kill()
            async with stack.documents("directory") as database:
                # As if its lease had ended meanwhile.
                over = {"$set": {"lease_until": datetime(2000, 1, 1, tzinfo=UTC)}}
                await database["imports"].update_many({"status": "running"}, over)
            await stack.directory_service.start()

        async def done() -> Any:
            now = await told()
            return now if now["state"] == "done" else None

        result = await until(done, within=60, what="the import is done")
        assert kills, "it was killed while it ran"
        assert (result["added"], result["already_there"], result["refused"]) == (ROWS, 0, 0)

        members: list[Any] = []
        cursor = ""
        while cursor is not None:
            page = f"/v1/dossiers/{dossier.id}/members?limit=200&cursor={cursor}".removesuffix("&cursor=")
            answer = (await stack.directory.call("GET", page, token=cabinet.key)).ok()
            members += answer["items"]
            cursor = answer["next_cursor"]
        assert Counter(member["email"] for member in members) == Counter(addresses)

        async def announced() -> bool:
            return {event["subject"] for event in heard.of("user.created")} == {member["id"] for member in members}

        # What the killed one left in its outbox is found when it is thirty seconds old, within twelve more.
        await until(announced, within=60, what="everybody is announced")
        sequences = Counter((event["subject"], event["sequence"]) for event in heard.of("user.created"))
        assert {number for _, number in sequences} == {next(iter(sequences))[1]}, "made once, whatever was told twice"
