"""A cabinet to look at: made once, with somebody who works for it, and a dossier with three people who are invited at
once."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp

from deploy.local.credentials import write_privately
from deploy.local.trouble import CannotStart

_CABINET = {"name": "Cabinet Léger", "phone": "+33142685300"}
_DOSSIER: dict[str, Any] = {
    "name": "Boulangerie Martin",
    "external_ref": "BM-2041",
    "members": [
        {
            "first_name": "Jeanne",
            "last_name": "Martin",
            "email": "jeanne.martin@example.com",
            "role": "expense_approver",
            "own_expense_reports": True,
            "locale": "fr",
            "invite_by": "email",
        },
        {
            "first_name": "Oliver",
            "last_name": "Bennett",
            "email": "oliver.bennett@example.com",
            "role": "standard_user",
            "own_expense_reports": True,
            "locale": "en",
            "invite_by": "email",
        },
        {
            "first_name": "Amina",
            "last_name": "Diallo",
            "email": "amina.diallo@example.com",
            "phone": "06 12 34 56 78",
            "role": "standard_user",
            "own_expense_reports": True,
            "locale": "fr",
            "invite_by": "sms",
        },
    ],
}


_STAFF = {"email": "claire.leger@example.com", "first_name": "Claire", "last_name": "Léger", "locale": "fr"}


@dataclass(frozen=True)
class DemoCabinet:
    id: str
    api_key: str
    staff_email: str
    staff_password: str


async def demo_cabinet(directory_url: str, admin_token: str, file: Path) -> DemoCabinet:
    """The cabinet remembered in `file`, if this directory knows its key; otherwise a new one. Raises CannotStart."""
    before = _remembered(file)
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(directory_url, timeout=timeout) as session:
        if before is not None:
            async with session.get("/v1/dossiers", headers=_bearer(before.api_key)) as response:
                if response.status == 200:
                    return before
        made = await _post(session, "/v1/cabinets", _CABINET, admin_token)
        cabinet = DemoCabinet(made["id"], made["api_key"], _STAFF["email"], secrets.token_urlsafe(12))
        staff = {**_STAFF, "password": cabinet.staff_password}
        await _post(session, f"/v1/cabinets/{cabinet.id}/staff", staff, admin_token)
        await _post(session, "/v1/dossiers", _DOSSIER, cabinet.api_key)
        # Kept only once it is complete: a start that broke off here makes another.
        write_privately(file, json.dumps(asdict(cabinet)))
        return cabinet


def _remembered(file: Path) -> DemoCabinet | None:
    try:
        return DemoCabinet(**json.loads(file.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


async def _post(session: aiohttp.ClientSession, path: str, body: dict[str, Any], token: str) -> dict[str, Any]:
    async with session.post(path, json=body, headers=_bearer(token)) as response:
        if response.status != 201:
            raise CannotStart(f"The demo cabinet was refused: {response.status} {(await response.text())[:500]}")
        return await response.json()


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
