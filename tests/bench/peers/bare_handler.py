"""What any web server must do that makes the same calls: aiohttp, the product's clients, and nothing decided between.

`python -m tests.bench.peers.bare_handler`, with the product's environment variables and `BENCH_PORT`. A page is
`BENCH_PAGE` bytes that are always the same. No template, no check, no log, no limit, no header but aiohttp's own.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import aio_pika
import uvloop
from aiohttp import web
from pydantic_core import from_json, to_json

from convive_contracts import topology
from convive_contracts.envelope import STRUCTURED
from convive_kit.mongo import close_client, open_client
from invitation.store.documents import WITHOUT_HISTORY
from invitation.store.mongo import INVITATIONS
from tests.bench.peers.serving import serve
from tests.bench.samples import people_added

_PAGE = b"<!doctype html>" + b"x" * (int(os.environ.get("BENCH_PAGE", "4000")) - 15)
MEMBERS = "members"


async def main() -> None:
    client = open_client(os.environ["CONVIVE_MONGO_URL"])
    invitations = client[os.environ["CONVIVE_INVITATION_DATABASE"]][INVITATIONS]
    members = client[os.environ["CONVIVE_DIRECTORY_DATABASE"]][MEMBERS]
    connection = await aio_pika.connect(os.environ["CONVIVE_AMQP_URL"])
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    exchange = await channel.get_exchange(topology.EXCHANGE, ensure=False)
    event = next(people_added(1)).body

    async def page(request: web.Request) -> web.Response:
        """One read."""
        found = await invitations.find_one({"_id": request.match_info["id"]}, WITHOUT_HISTORY)
        return web.Response(body=_PAGE if found else b"", content_type="text/html", status=200 if found else 404)

    async def opened(request: web.Request) -> web.Response:
        """One read and one acknowledged write of about the product's size."""
        id = request.match_info["id"]
        await request.read()
        found = await invitations.find_one({"_id": id}, WITHOUT_HISTORY)
        if found is None:
            raise web.HTTPNotFound
        now = datetime.now(UTC)
        step = {"at": now, "actor": "person", "what": "opened", "from": "sent", "to": "opened"}
        await invitations.update_one(
            {"_id": id, "version": found["version"]},
            {
                "$set": {"state": "opened", "updated_at": now, "version": found["version"] + 1},
                "$push": {"history": step},
            },
        )
        return web.json_response({"state": "opened"})

    async def member(request: web.Request) -> web.Response:
        """One acknowledged insert, then one confirmed publish."""
        body: dict[str, Any] = from_json(await request.read())
        now, id = datetime.now(UTC), str(uuid4())
        document = {
            **body,
            "_id": id,
            "version": 1,
            "dossier_id": request.match_info["id"],
            "cabinet_id": id,
            "created_at": now,
            "email_key": body["email"],
            "role": "standard_user",
            "locale": "fr",
            "time_zone": "Europe/Paris",
        }
        await members.insert_one(document)
        message = aio_pika.Message(
            event, content_type=STRUCTURED, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, message_id=f"{id}.1"
        )
        await exchange.publish(message, "user.created", mandatory=True)
        return web.Response(body=to_json(document), content_type="application/json", status=201)

    await serve(
        [
            web.get("/bare/{id}", page),
            web.post("/bare/{id}/open", opened),
            web.post("/bare/{id}/members", member),
        ]
    )
    await close_client(client)
    await connection.close()


if __name__ == "__main__":
    uvloop.run(main())
