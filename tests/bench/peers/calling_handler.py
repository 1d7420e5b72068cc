"""What a link opens, by all the calls that it takes: aiohttp and the product's clients, and the product's own code for
what is decided and rendered, with nothing around it.

A page is the invitation, then the firm's names and, beside them, the directory's answer whether there is an account;
an opening is a read, the names, a write, a confirmed event, and the write that clears it. So this is how fast the
product would be if it did nothing but that, for each request by itself. `python -m tests.bench.peers.calling_handler`,
with the product's environment variables and `BENCH_PORT`.
"""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from typing import Any

import aio_pika
import aiohttp
import uvloop
from aiohttp import web

from convive_contracts import topology
from convive_contracts.envelope import STRUCTURED
from convive_kit.mongo import close_client, open_client
from invitation.lifecycle.invitation import Cause, Invitation, Invitee
from invitation.lifecycle.schedule import Policy
from invitation.pages import context as pages
from invitation.pages.render import PageRenderer
from invitation.pages.visits import Visit, guest_of, page_visit
from invitation.store.documents import WITHOUT_HISTORY, entries, from_document, to_update
from invitation.store.mongo import INVITATIONS, NAMES
from invitation.store.protocol import Names
from tests.bench.peers.serving import serve


async def main() -> None:
    client = open_client(os.environ["CONVIVE_MONGO_URL"])
    database = client[os.environ["CONVIVE_INVITATION_DATABASE"]]
    invitations, names = database[INVITATIONS], database[NAMES]
    connection = await aio_pika.connect(os.environ["CONVIVE_AMQP_URL"])
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    exchange = await channel.get_exchange(topology.EXCHANGE, ensure=False)
    directory = aiohttp.ClientSession(
        os.environ["CONVIVE_DIRECTORY_URL"],
        headers={"Authorization": f"Bearer {os.environ['CONVIVE_SERVICE_TOKEN']}"},
        timeout=aiohttp.ClientTimeout(total=8),
    )
    renderer, policy = PageRenderer(), Policy()
    clearing: set[asyncio.Task[None]] = set()

    async def read(request: web.Request) -> tuple[Invitation, Invitee]:
        found = await invitations.find_one({"_id": request.match_info["id"]}, WITHOUT_HISTORY)
        invitation = from_document(found) if found else None
        if invitation is None or invitation.invitee is None:
            raise web.HTTPNotFound
        return invitation, invitation.invitee

    async def firm_of(invitee: Invitee) -> pages.Firm:
        cabinet, dossier = f"cabinet:{invitee.cabinet_id}", f"dossier:{invitee.dossier_id}"
        found = {one["_id"]: one async for one in names.find({"_id": {"$in": [cabinet, dossier]}})}
        known = Names.known(invitee, found.get(cabinet), found.get(dossier))
        return pages.Firm(known.cabinet, known.dossier, known.cabinet_phone, invitee.invited_by, known.colour)

    async def has_account(invitee: Invitee) -> bool:
        async with directory.get("/internal/v1/accounts", params={"email": invitee.email}) as answer:
            return bool((await answer.json())["exists"])

    def shown(request: web.Request, invitation: Invitation, invitee: Invitee, firm: pages.Firm) -> Visit:
        page = page_visit(request, request.path, invitee)
        return Visit(invitation, invitee, invitation.link_sequence, firm, policy, page)

    async def page(request: web.Request) -> web.Response:
        invitation, invitee = await read(request)
        firm, exists = await asyncio.gather(firm_of(invitee), has_account(invitee))
        assert not exists
        visit = shown(request, invitation, invitee, firm)
        html = renderer.render(pages.Invitation(firm, guest_of(visit)), visit.page)
        return web.Response(text=html, content_type="text/html")

    async def question(request: web.Request) -> web.Response:
        invitation, invitee = await read(request)
        firm = await firm_of(invitee)
        visit = shown(request, invitation, invitee, firm)
        html = renderer.render(pages.ConfirmDecline(firm, guest_of(visit)), visit.page)
        return web.Response(text=html, content_type="text/html")

    async def opened(request: web.Request) -> web.Response:
        await request.read()
        invitation, invitee = await read(request)
        await firm_of(invitee)  # what it has chosen says whether there are reminders
        change = invitation.opened(Cause(datetime.now(UTC), "person"), policy)
        [entry] = entries(change, invitation.correlation_id)
        which: dict[str, Any] = {"_id": invitation.id, "version": invitation.version}
        await invitations.update_one(which, to_update(change, [entry]))
        task = asyncio.create_task(tell(invitation.id, entry["id"], entry["key"], entry["body"]))
        clearing.add(task)
        task.add_done_callback(clearing.discard)
        return web.json_response({"state": "opened"})

    async def tell(invitation: str, id: str, key: str, body: bytes) -> None:
        mode = aio_pika.DeliveryMode.PERSISTENT
        message = aio_pika.Message(body, content_type=STRUCTURED, delivery_mode=mode, message_id=id)
        await exchange.publish(message, key, mandatory=True)
        await invitations.update_one({"_id": invitation}, {"$pull": {"outbox": {"id": id}}})

    await serve(
        [
            web.get("/bare/{id}", page),
            web.get("/bare/{id}/decline", question),
            web.post("/bare/{id}/open", opened),
        ]
    )
    await asyncio.gather(*clearing)
    await directory.close()
    await close_client(client)
    await connection.close()


if __name__ == "__main__":
    uvloop.run(main())
