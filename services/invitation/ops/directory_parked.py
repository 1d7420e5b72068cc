"""The directory's parked messages, so that operators see one list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convive_kit.cursors import encode_cursor
from convive_kit.http import Problem
from convive_kit.parked_routes import Act, Edit, GroupView, Key, ParkedDetail, ParkedQuery, ParkedView
from invitation.directory import Directory


class DirectoryParked:
    """See `convive_kit.parked_routes.Place`. The directory's being away is `DirectoryAway`."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def latest(self, query: ParkedQuery, after: Key | None, limit: int) -> Sequence[ParkedView]:
        asked: list[tuple[str, str]] = [("limit", str(min(limit, 200))), ("status", query.status)]
        asked += [("fingerprint", fingerprint) for fingerprint in query.fingerprint]
        if after is not None:
            asked.append(("cursor", encode_cursor(*after)))
        _, answer = await self._directory.parked("GET", "", query=asked)
        return [ParkedView.model_validate(item) for item in answer["items"]]

    async def groups(self) -> Sequence[GroupView]:
        _, answer = await self._directory.parked("GET", "", query=[("group_by", "fingerprint")])
        return [GroupView.model_validate(item) for item in answer["items"]]

    async def one(self, id: str) -> ParkedDetail | None:
        return await self._ask("GET", f"/{id}", None)

    async def replay(self, id: str, act: Act) -> ParkedDetail | None:
        return await self._ask("POST", f"/{id}/replay", act.model_dump(exclude_none=True))

    async def edit(self, id: str, edit: Edit) -> ParkedDetail | None:
        return await self._ask("PUT", f"/{id}", edit.model_dump(exclude_none=True))

    async def discard(self, id: str, act: Act) -> ParkedDetail | None:
        return await self._ask("DELETE", f"/{id}", act.model_dump(exclude_none=True))

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> ParkedDetail | None:
        status, answer = await self._directory.parked(method, path, body=body)
        if status == 404:
            return None
        if status != 200:
            raise Problem(status, answer.get("slug", ""), answer.get("detail", ""))
        return ParkedDetail.model_validate(answer)
