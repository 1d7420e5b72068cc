"""What the model refuses, as problem documents."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, cast

from aiohttp import web
from pydantic import BaseModel

from convive_kit.http import Problem, invalid
from convive_kit.routes import Handler, Route
from directory.entrance import WrongCredentials
from directory.model.refusals import CodeSpent, FieldRefused, KeyReused, MemberGone, PasswordLinkOver, Refusal

_STATUS: dict[type[Refusal], int] = {
    FieldRefused: 422,
    KeyReused: 422,
    MemberGone: 410,
    PasswordLinkOver: 410,
    CodeSpent: 401,
}


def answering(routes: Sequence[Route]) -> list[Route]:
    """The same routes, with refusals answered: 409 unless the table above says otherwise."""
    return [dataclasses.replace(route, handler=_answering(route.handler)) for route in routes]


def _answering(handler: Handler) -> Handler:
    @functools.wraps(handler)
    async def handle(request: web.Request) -> web.StreamResponse | BaseModel:
        try:
            return await handler(request)
        except FieldRefused as refusal:
            raise invalid(refusal.about["field"], refusal.detail) from None
        except Refusal as refusal:
            status = _STATUS.get(type(refusal), 409)
            raise Problem(status, refusal.slug, refusal.detail, **cast("dict[str, Any]", refusal.about)) from None
        except WrongCredentials:
            raise Problem(401, "wrong_credentials", "The e-mail address or the password is wrong.") from None

    return handle
