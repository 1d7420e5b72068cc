"""What a handler needs: problem documents, parsed bodies and queries, the caller's address."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator, AsyncIterable, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Annotated, Any, Generic, TypedDict, TypeVar, get_args, get_origin

from aiohttp import BodyPartReader, web
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError
from pydantic_core import ErrorDetails, to_json

BODY_LIMIT = 1024 * 1024
DECLARED_BODY = web.RequestKey("declared_body", object)
DECLARED_QUERY = web.RequestKey("declared_query", object)
LARGEST_BODY = web.RequestKey("largest_body", int)
Model = TypeVar("Model", bound=BaseModel)
Item = TypeVar("Item")


def rfc3339(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, as every time in our answers."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


Timestamp = Annotated[datetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]


def _written_out(value: object) -> object:
    if isinstance(value, datetime) or (isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d[Tt ]", value)):
        return value
    raise ValueError("give a time with its zone, such as 2026-11-24T09:30:00Z")


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out)]
"""A time that somebody sends (RFC 3339): a bare number, which could be anything, is none."""


class Body(BaseModel):
    """A request body: unknown fields are refused, and what was sent never shows in an error.

    For a JSON merge patch (RFC 7396) give every field a default; `patch.model_dump(exclude_unset=True)` is what the
    caller set, an explicit null included where the field's type allows one.
    """

    # Made ready by the first request that needs it: there are some hundred, and a start would wait for them all.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)


class Query(BaseModel):
    """Query parameters: unknown ones are refused; a parameter may repeat where its type is a list or tuple."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=False, defer_build=True
    )


class NoQuery(Query):
    """No query parameter at all."""


class ListQuery(Query):
    limit: int = Field(default=50, ge=1, le=200, description="How many items a page has at most.")
    cursor: str | None = Field(default=None, max_length=1024, description="`next_cursor` of the page before.")


class ListOf(BaseModel, Generic[Item]):
    """One page of a list; it goes on while `next_cursor` is not null, even when a page is short or empty."""

    items: list[Item]
    next_cursor: str | None = None


class FieldError(TypedDict):
    field: str
    message: str


class Problem(Exception):
    """An RFC 9457 problem document as an exception.

    `slug` is the stable name of what went wrong; `errors` says which fields are at fault (422); `members` are further
    members of the document, e.g. `state="active"`; `retry_after` is in seconds.
    """

    def __init__(
        self,
        status: int,
        slug: str = "",
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(f"{status} {slug or HTTPStatus(status).phrase}")
        self.status = status
        self.slug = slug or re.sub(r"\W+", "_", HTTPStatus(status).phrase.lower())
        self.title = slug.replace("_", " ").capitalize() or HTTPStatus(status).phrase
        self.type = f"urn:convive:problem:{slug}" if slug else "about:blank"
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})
        self.members = members
        if retry_after is not None:
            self.headers["Retry-After"] = str(max(1, math.ceil(retry_after)))

    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = {**self.members, "type": self.type, "title": self.title, "status": self.status}
        if self.detail:
            document["detail"] = self.detail
        document["slug"] = self.slug
        if self.errors:
            document["errors"] = self.errors
        return document


def problem_response(_: web.Request, problem: Problem) -> web.StreamResponse:
    return web.Response(
        body=to_json(problem.document()),
        status=problem.status,
        content_type="application/problem+json",
        headers=problem.headers,
    )


def not_found(what: str = "") -> Problem:
    """404; `what` was not found, e.g. "dossier". Other tenants' ids answer the same."""
    return Problem(404, detail=f"There is no such {what}." if what else "")


def invalid(field: str, message: str) -> Problem:
    """422 for one field."""
    return Problem(422, "invalid_fields", errors=[{"field": field, "message": message}])


def json_response(model: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        body=model.model_dump_json(by_alias=True).encode(),
        status=status,
        content_type="application/json",
        headers=headers,
    )


async def json_body(request: web.Request, model: type[Model]) -> Model:
    """The JSON body as `model`. Not JSON by its content type: 415; malformed: 400 with the position; does not fit: 422
    naming each field. An empty body counts as `{}`."""
    _keep_to(request.get(DECLARED_BODY, model), model)
    raw = await request.read()
    kind = request.content_type
    if not raw:
        raw = b"{}"
    elif kind != "application/json" and not kind.endswith("+json"):
        raise Problem(415, detail="Send JSON, with the content type application/json.", headers={"Accept": _JSON})
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise _unfit(error) from None


_JSON = "application/json"


async def form_body(request: web.Request, model: type[Model]) -> Model:
    """The fields of a posted HTML form as `model`; a field may repeat where its type is a list."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise Problem(415, detail="Send the form as application/x-www-form-urlencoded.")
    try:
        form = await request.post()
    except (ValueError, LookupError):  # not UTF-8, or an unknown charset
        raise Problem(400, "malformed_form", "The form could not be read.") from None
    return from_pairs([(name, value) for name, value in form.items() if isinstance(value, str)], model)


async def upload(request: web.Request) -> tuple[bytes, str]:
    """A posted file, in memory, and its name: the body itself, or the first file of a `multipart/form-data` form. 413
    for more than the route takes."""
    limit = request[LARGEST_BODY]
    if not request.content_type.startswith("multipart/"):
        return await _within(limit, request.content.iter_chunked(_PIECE)), ""
    try:
        async for part in await request.multipart():
            if isinstance(part, BodyPartReader) and part.filename:
                return await _within(limit, _pieces(part)), part.filename
    except ValueError:  # no form after all
        raise Problem(400, "malformed_form", "The form could not be read.") from None
    return b"", ""


async def _pieces(part: BodyPartReader) -> AsyncGenerator[bytes]:
    while piece := await part.read_chunk(_PIECE):
        yield piece


async def _within(limit: int, pieces: AsyncIterable[bytes]) -> bytes:
    content = bytearray()
    async for piece in pieces:
        content += piece
        if len(content) > limit:
            raise too_large(limit)
    return bytes(content)


_PIECE = 64 * 1024


def too_large(limit: int) -> Problem:
    """413, of a body over `limit` bytes."""
    return Problem(413, detail=f"A body may have {limit // (1024 * 1024)} MiB at most.")


def parse_query(request: web.Request, model: type[Model]) -> Model:
    """The query parameters as `model`; 422 names each parameter that is unknown, repeated or does not fit."""
    _keep_to(request.get(DECLARED_QUERY, model), model)
    return from_pairs(list(request.query.items()), model)


def _keep_to(declared: object, model: type[BaseModel]) -> None:
    # The documentation is made from the route table, so a handler that reads something else is a bug.
    if declared is not model:
        raise RuntimeError(f"the handler reads {model.__name__}, its route declares {declared!r}")


def from_pairs(pairs: Sequence[tuple[str, str]], model: type[Model]) -> Model:
    """Names with their values as `model`; 422 names each that is unknown, repeated or does not fit."""
    fields = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
    values: dict[str, str | list[str]] = {}
    for name, value in pairs:
        if _is_list(fields.get(name)):
            values.setdefault(name, [])
            values[name] = [*values[name], value]
        elif name in values:
            raise invalid(name, "Give this once only.")
        else:
            values[name] = value
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _unfit(error) from None


def _is_list(annotation: Any) -> bool:
    return (get_origin(annotation) or annotation) in (list, tuple, set, frozenset) or (
        any(map(_is_list, get_args(annotation)))
    )


def _unfit(error: ValidationError) -> Problem:
    faults = error.errors(include_url=False, include_input=False)
    if faults[0]["type"] == "json_invalid":
        return Problem(400, "malformed_json", f"{faults[0]['msg']}.")
    return Problem(422, "invalid_fields", errors=field_errors(faults))


def field_errors(faults: Sequence[ErrorDetails]) -> list[FieldError]:
    """pydantic's errors as fields and messages, without what was sent."""
    return [
        {
            "field": ".".join(map(str, fault["loc"])) or "body",
            "message": fault["msg"].removeprefix("Value error, "),
        }
        for fault in faults
    ]


Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


def client_address(request: web.Request, trusted_proxies: Sequence[Network]) -> str:
    """The caller's address: the peer, or, when the peer is a trusted proxy, the rightmost hop of X-Forwarded-For that
    is not one. Anyone can write the hops left of that."""
    hops = [hop for line in request.headers.getall("X-Forwarded-For", []) for hop in line.split(",")]
    client = _address(request.remote or "")
    while client and hops and any(client in network for network in trusted_proxies):
        before = _address(hops.pop())
        if before is None:
            break  # not written by a proxy of ours, nor is anything left of it
        client = before
    return str(client) if client else (request.remote or "")


def _address(text: str) -> Address | None:
    text = text.strip()
    if bracketed := re.fullmatch(r"\[([^\]]*)\](?::\d+)?", text):
        text = bracketed[1]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
