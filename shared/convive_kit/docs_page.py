"""`/openapi.json`, and `/docs`: the same for people, made on the server, with nothing from elsewhere."""

from __future__ import annotations

import functools
import hashlib
import json
from base64 import b64encode
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from aiohttp import web
from pydantic_core import to_json

from convive_kit.openapi import About, Json, openapi_document
from convive_kit.routes import Guard, Route


def docs_routes(about: About, routes: Sequence[Route], guards: Sequence[Guard]) -> list[Route]:
    @functools.cache
    def document() -> Json:
        return openapi_document(about, routes, guards)

    @functools.cache
    def page() -> tuple[str, str]:
        return render(document())

    async def openapi_json(_: web.Request) -> web.Response:
        return web.Response(body=to_json(document()), content_type="application/json")

    async def docs(_: web.Request) -> web.Response:
        html, policy = page()
        return web.Response(text=html, content_type="text/html", headers={"Content-Security-Policy": policy})

    return [
        Route("GET", "/openapi.json", openapi_json, documented=False, query=None),
        Route("GET", "/docs", docs, documented=False, query=None),
    ]


class Row(NamedTuple):
    name: str
    kind: str
    required: bool
    meaning: str


def render(document: Json) -> tuple[str, str]:
    """The page for an OpenAPI document, and the content security policy to send with it."""
    import jinja2  # only whoever opens the page pays for it

    style = files("convive_kit").joinpath("docs.css").read_text("utf-8")
    source = files("convive_kit").joinpath("docs.html.jinja").read_text("utf-8")
    schemas = Schemas(document["components"]["schemas"])
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    html = environment.from_string(source).render(
        document=document, style=style, rows=schemas.rows, kind=schemas.kind, example=schemas.example_json
    )
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return html, f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; frame-ancestors 'none'"


class Schemas:
    """Reads JSON schemas for people: their fields as rows, and an example."""

    def __init__(self, definitions: Json) -> None:
        self._definitions = definitions

    def _resolved(self, schema: Json) -> Json:
        if "$ref" in schema:
            return self._definitions[schema["$ref"].rpartition("/")[2]] | {
                name: value for name, value in schema.items() if name != "$ref"
            }
        return schema

    def _options(self, schema: Json) -> list[Json]:
        return [self._resolved(option) for option in schema.get("anyOf") or schema.get("oneOf") or ()]

    def kind(self, schema: Json) -> str:
        schema = self._resolved(schema)
        if options := self._options(schema):
            return " or ".join(dict.fromkeys(map(self.kind, options)))
        if "const" in schema:
            return json.dumps(schema["const"])
        if "enum" in schema:
            return " | ".join(map(json.dumps, schema["enum"]))
        if schema.get("type") == "array":
            return f"list of {self.kind(schema.get('items', {}))}"
        bounds = [f"{sign} {schema[word]}" for word, sign in _BOUNDS if word in schema]
        return ", ".join([schema.get("format") or schema.get("type", "any"), *bounds])

    def rows(self, schema: Json, prefix: str = "", depth: int = 0) -> Iterable[Row]:
        """Every field, those of inner objects with a dotted name."""
        schema = self._resolved(schema)
        for option in self._options(schema):
            yield from self.rows(option, prefix, depth)
        if schema.get("type") == "array":
            yield from self.rows(schema.get("items", {}), f"{prefix.rstrip('.')}[].", depth)
        for name, field in schema.get("properties", {}).items():
            meaning = self._resolved(field).get("description", "").partition("\n\n")[0]
            if field.get("default") is not None:
                meaning = f"{meaning} Default: {json.dumps(field['default'], ensure_ascii=False)}.".strip()
            yield Row(prefix + name, self.kind(field), name in schema.get("required", ()), meaning)
            if depth < 3:
                yield from self.rows(field, f"{prefix}{name}.", depth + 1)

    def example(self, schema: Json, depth: int = 0) -> Any:
        schema = self._resolved(schema)
        if schema.get("examples"):
            return schema["examples"][0]
        if schema.get("default") is not None or "const" in schema:
            return schema.get("const", schema.get("default"))
        if "enum" in schema:
            return schema["enum"][0]
        if options := self._options(schema):
            return self.example(options[0], depth)
        match schema.get("type"):
            case "object" if depth < 5:
                return {name: self.example(field, depth + 1) for name, field in schema.get("properties", {}).items()}
            case "array" if depth < 5:
                return [self.example(schema.get("items", {}), depth + 1)]
            case "string":
                return _STRINGS.get(schema.get("format", ""), "…")
            case "integer" | "number":
                return schema.get("minimum", 1)
            case "boolean":
                return True
            case _:
                return None

    def example_json(self, schema: Json) -> str:
        return json.dumps(self.example(schema), ensure_ascii=False, indent=2)


_BOUNDS = (("minimum", "≥"), ("maximum", "≤"), ("minLength", "length ≥"), ("maxLength", "length ≤"))
_STRINGS = {
    "date-time": "2026-01-31T09:30:00.000Z",
    "uuid": "0b9cbd0c-6c5b-4f0a-9f5d-1d2f6f3c8e11",
    "email": "jeanne@example.com",
    "duration": "PT1H",
    "uri": "https://convive.example/",
}
