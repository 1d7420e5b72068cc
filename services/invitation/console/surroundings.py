"""`/ops/surroundings`: the queues and who reads them, the processes, and whether everything around them works."""

from __future__ import annotations

from aiohttp import web

from convive_kit.routes import Route
from invitation.console.frame import Frame
from invitation.i18n import msgid
from invitation.ops.checks import Checks

PLACE = "/ops/surroundings"
NAMES = {
    "broker": msgid("Broker"),
    "topology": msgid("Exchanges and queues"),
    "consumers": msgid("Workers"),
    "database": msgid("Database"),
    "indexes": msgid("Indexes"),
    "clock": msgid("Clock"),
    "mail server": msgid("Mail server"),
    "directory": msgid("Directory"),
    "invitation address": msgid("Address of the link pages"),
    "directory address": msgid("Address of the directory"),
    "secrets": msgid("Secrets"),
    "link life": msgid("Life of a link"),
    "mail encryption": msgid("Encryption of mails"),
    "mail sender": msgid("Sender of mails"),
}


class Surroundings:
    """See the module."""

    def __init__(self, frame: Frame, checks: Checks) -> None:
        self._frame = frame
        self._checks = checks

    def routes(self) -> list[Route]:
        """The page."""
        return [Route("GET", PLACE, self._show, query=None, auth="console_reader", documented=False)]

    async def _show(self, request: web.Request) -> web.StreamResponse:
        looked = await self._checks.look()
        # What does not work comes first, then what should not stay so.
        found = sorted(looked.found, key=lambda one: (one.ok, one.what_to_do is None))
        return self._frame.page(request, "surroundings.html", looked=looked, found=found, names=NAMES)
