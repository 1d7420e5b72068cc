"""The floor of reminding: the writes, mails and events that a due reminder costs the product, raw and in groups.

It finds what is due in one go, decides nothing and claims without comparing: the same updates, made once by the
product's own code. `python -m tests.bench.peers.raw_due`, with the product's variables; `BENCH_SHARE=0/2` takes every
second one.
"""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import aio_pika
import aiosmtplib
import uvloop
from pymongo import UpdateOne

from convive_contracts import topology
from convive_contracts.envelope import STRUCTURED
from convive_kit.mongo import close_client, open_client
from invitation.store.mongo import INVITATIONS
from tests.bench.peers.raw_floor import CONNECTIONS, Group, Prepared


async def main() -> None:
    prepared = Prepared()
    share, of = map(int, os.environ.get("BENCH_SHARE", "0/1").split("/"))
    client = open_client(os.environ["CONVIVE_MONGO_URL"])
    invitations = client[os.environ["CONVIVE_INVITATION_DATABASE"]][INVITATIONS]
    connection = await aio_pika.connect(os.environ["CONVIVE_AMQP_URL"])
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    exchange = await channel.get_exchange(topology.EXCHANGE, ensure=False)
    mails: asyncio.Queue[str] = asyncio.Queue(maxsize=1000)
    publishing: set[asyncio.Task[None]] = set()

    async def mail(smtp: aiosmtplib.SMTP) -> None:
        await smtp.connect()
        while True:
            id = await mails.get()
            await smtp.sendmail(
                "noreply@convive.example", ["person@example.com"], prepared.message, mail_options=["BODY=8BITMIME"]
            )
            sent.put(id)

    async def claim() -> None:
        now = datetime.now(UTC)
        lease = {"$set": {"lease": {"owner": "floor", "until": now + timedelta(seconds=60)}}, "$inc": {"version": 1}}
        due = invitations.find({"channel": "email", "due_at": {"$lte": now}}, {"_id": 1}).sort("due_at", 1)
        ids: list[str] = [document["_id"] async for document in due]
        mine = ids[share::of]
        for start in range(0, len(mine), 500):
            group = mine[start : start + 500]
            await invitations.bulk_write([UpdateOne({"_id": id}, lease) for id in group], ordered=False)
            for id in group:
                await mails.put(id)

    def update_of(id: str) -> UpdateOne:
        push = prepared.update["$push"]
        entry = {**push["outbox"]["$each"][0], "id": id}
        return UpdateOne({"_id": id}, {**prepared.update, "$push": {**push, "outbox": {"$each": [entry]}}})

    async def record(ids: list[str]) -> None:
        await invitations.bulk_write([update_of(id) for id in ids], ordered=False)
        for id in ids:
            task = asyncio.create_task(publish(id))
            publishing.add(task)
            task.add_done_callback(publishing.discard)

    async def publish(id: str) -> None:
        message = aio_pika.Message(
            prepared.event, content_type=STRUCTURED, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, message_id=id
        )
        await exchange.publish(message, "invitation.sent", mandatory=True)
        pulls.put(id)

    async def pull(ids: list[str]) -> None:
        pulled: dict[str, Any] = {"$pull": {"outbox": {"id": {"$in": ids}}}}
        await invitations.update_many({"_id": {"$in": ids}}, pulled)

    sent, pulls = Group(record), Group(pull)
    host, port = os.environ["CONVIVE_SMTP_HOST"], int(os.environ["CONVIVE_SMTP_PORT"])
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    claiming = asyncio.create_task(claim())
    loops = [
        *(asyncio.create_task(group.run()) for group in (sent, pulls)),
        *(
            asyncio.create_task(mail(aiosmtplib.SMTP(hostname=host, port=port, start_tls=False)))
            for _ in range(CONNECTIONS)
        ),
    ]
    ended = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([ended, *loops], return_when=asyncio.FIRST_COMPLETED)
    for task in [ended, claiming, *loops]:
        task.cancel()
    await close_client(client)
    await connection.close()
    for task in done - {ended}:
        task.result()  # a loop that ended has failed


if __name__ == "__main__":
    uvloop.run(main())
