"""Where somebody who is signed in stands: in a firm's space or in a client file, and what they may see around it.

Every page of the firm's space begins with one of these calls. They send whoever is not signed in to the sign-in and
back, answer 404 for what is other people's, and refuse forms of other sites.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn
from urllib.parse import quote

from aiohttp import web

from convive_kit.http import not_found
from directory.access import Access, Caller, Ground, path_id
from directory.model.account import Account
from directory.model.cabinet import Cabinet
from directory.store.protocol import Store
from directory.web.frame import HERE, Frame
from directory.web.language import msgid
from directory.web.visitors import Visitors


@dataclass(frozen=True, slots=True)
class Way:
    """A way to another page; `path` has the id of the firm, or of the client file, in it."""

    path: str
    words: str
    # For a client file: not for its own administrators.
    firm_alone: bool = False
    # What lies on this way too, by how its path begins.
    also: tuple[str, ...] = ()


# A firm's pages, and those of a client file: whoever makes one adds its row.
NAV = (
    Way("/firms/{}/clients", msgid("Clients"), also=("/clients/",)),
    Way("/firms/{}/staff", msgid("Team")),
    Way("/firms/{}/face", msgid("Settings"), also=("/firms/{}/times", "/firms/{}/digest")),
)
TABS = (
    Way("/clients/{}/users", msgid("Users")),
    Way("/clients/{}/settings", msgid("Client file"), firm_alone=True),
)


@dataclass(frozen=True, slots=True)
class Here:
    """`cabinet` is the firm whose space this is, where the visitor works for it."""

    account: Account
    path: str
    cabinet: Cabinet | None = None
    ground: Ground | None = None

    @property
    def nav(self) -> list[tuple[str, str, bool]]:
        """Address, words, and whether it leads here, for each way."""
        if self.cabinet is None:
            return []
        return [self._to(way, self.cabinet.id) for way in NAV]

    @property
    def tabs(self) -> list[tuple[str, str, bool]]:
        if self.ground is None:
            return []
        ways = [way for way in TABS if self.cabinet or not way.firm_alone]
        return [self._to(way, self.ground.dossier.id) for way in ways]

    def _to(self, way: Way, id: str) -> tuple[str, str, bool]:
        path = way.path.format(id)
        here = self.path == path or self.path.startswith((f"{path}/", *(also.format(id) for also in way.also)))
        return path, way.words, here


class Desk:
    def __init__(self, frame: Frame, visitors: Visitors, store: Store, now: Callable[[], datetime]) -> None:
        self.now = now
        self._frame = frame
        self._visitors = visitors
        self._access = Access(store)

    async def account(self, request: web.Request) -> Account:
        """Whoever is signed in."""
        if request.method == "POST":
            self._frame.refuse_foreign(request)
        account = await self._visitors.account(request)
        if account is None:
            _sign_in_first(request)
        return account

    async def firm(self, request: web.Request) -> tuple[Account, Cabinet]:
        """The firm of the path, for one of its staff."""
        account = await self.account(request)
        id = path_id(request, "cabinet")
        if id not in account.firms:
            raise not_found("cabinet")
        cabinet = await self._access.cabinet(Caller(account=account), id)
        request[HERE] = Here(account, request.path, cabinet)
        return account, cabinet

    async def client(self, request: web.Request, *, firm_alone: bool = False, archived: bool = False) -> Ground:
        """The client file of the path, for the staff of its firm and (unless for them alone) its administrators. An
        archived one is gone, unless asked for."""
        account = await self.account(request)
        look = self._access.own_ground if firm_alone else self._access.ground
        ground = await look(Caller(account=account), path_id(request, "dossier"))
        if ground.dossier.archived_at and not archived:
            raise not_found("dossier")
        request[HERE] = Here(account, request.path, None if ground.member else ground.cabinet, ground)
        return ground

    async def beside(self, request: web.Request, account: Account, cabinet_id: str, dossier_id: str | None) -> None:
        """Show around a page what surrounds that client file, or the clients of that firm."""
        caller = Caller(account=account)
        if dossier_id:
            ground = await self._access.ground(caller, dossier_id)
            cabinet = None if ground.member else ground.cabinet
            request[HERE] = Here(account, f"/clients/{dossier_id}/users/import", cabinet, ground)
        else:
            cabinet = await self._access.cabinet(caller, cabinet_id)
            request[HERE] = Here(account, f"/firms/{cabinet_id}/clients/import", cabinet)


def _sign_in_first(request: web.Request) -> NoReturn:
    back = request.path_qs if request.method == "GET" else "/"
    raise web.HTTPSeeOther(f"/sign-in?next={quote(back, safe='')}")
