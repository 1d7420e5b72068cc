"""What a gateway says of a text message after it took it, in the format of docs/sms-gateway.md."""

from __future__ import annotations

import asyncio
import json
import time

import aiohttp
from aiohttp import web

from invitation.delivery.gateways.generic import signature


class Receipts:
    """Says each once, and gives up where nobody listens."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._under_way: set[asyncio.Task[None]] = set()

    def say(self, url: str, reference: str, id: str, status: str) -> None:
        """Does not wait. `status` is `delivered` or `undelivered`."""
        reason = {"reason": "unknown_number"} if status == "undelivered" else {}
        task = asyncio.create_task(self._post(url, {"reference": reference, "id": id, "status": status, **reason}))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def stop(self, _: web.Application) -> None:
        """Leave unsaid what is under way."""
        for task in self._under_way:
            task.cancel()

    async def _post(self, url: str, receipt: dict[str, str]) -> None:
        body = json.dumps(receipt).encode()
        headers = {
            "Content-Type": "application/json",
            "Convive-Signature": signature(self._key, body, int(time.time())),
        }
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
                async with session.post(url, data=body, headers=headers) as answer:
                    await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            print(f"A receipt was not taken: {type(error).__name__}", flush=True)
