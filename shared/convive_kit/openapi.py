"""OpenAPI 3.1, generated from the route table and the models."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from convive_kit.routes import Guard, Route

Json = dict[str, Any]
Mode = Literal["validation", "serialization"]


@dataclass(frozen=True, slots=True)
class About:
    title: str
    version: str
    description: str


class ProblemField(BaseModel):
    field: str
    message: str


class ProblemDocument(BaseModel):
    """RFC 9457. Further members depend on the slug."""

    type: str
    title: str
    status: int
    slug: str
    detail: str | None = None
    errors: list[ProblemField] | None = None


def openapi_document(about: About, routes: Sequence[Route], guards: Sequence[Guard]) -> Json:
    routes = [route for route in routes if route.documented]
    wanted = dict.fromkeys(_models(routes))
    references, definitions = models_json_schema(list(wanted), ref_template="#/components/schemas/{model}")
    for route in routes:
        if route.body and route.method == "PATCH":
            # What is not in a merge patch stays as it is, whatever the model's default.
            reference: str = references[route.body, "validation"]["$ref"]
            for schema in definitions["$defs"][reference.rpartition("/")[2]].get("properties", {}).values():
                schema.pop("default", None)
    refusals = {guard.name: guard.refusals for guard in guards}
    paths: Json = {}
    for route in routes:
        operations = paths.setdefault(re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path), {})
        operations[route.method.lower()] = _operation(
            route, references, definitions.get("$defs", {}), refusals.get(route.auth or "", ())
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": about.title, "version": about.version, "description": about.description},
        "paths": paths,
        "components": {
            "schemas": definitions.get("$defs", {}),
            "securitySchemes": {
                guard.name: {"type": "http", "scheme": "bearer", "description": guard.description} for guard in guards
            },
        },
    }


def _models(routes: Iterable[Route]) -> Iterable[tuple[type[BaseModel], Mode]]:
    yield ProblemDocument, "serialization"
    for route in routes:
        if route.body:
            yield route.body, "validation"
        if route.query:
            yield route.query, "validation"
        if route.response:
            yield route.response, "serialization"


def _operation(route: Route, references: Any, definitions: Json, refusals: Sequence[int]) -> Json:
    words = re.findall(r"\w+", re.sub(r":[^}]*\}", "}", route.path))
    # An operation of `/v1/dossiers/{id}` is filed under `dossiers`, one of `/livez` under `livez`.
    tag = next((word for word in words if not re.fullmatch(r"v\d+|internal", word)), "root")
    operation: Json = {
        "operationId": "_".join([route.method.lower(), *words]),
        "summary": route.summary,
        "tags": [tag],
        "parameters": list(_parameters(route, references, definitions)),
        "responses": _responses(route, references, refusals),
    }
    if said := inspect.getdoc(route.handler):
        operation["description"] = said
    if route.auth:
        operation["security"] = [{route.auth: []}]
    if route.body:
        content = {"application/json": {"schema": references[route.body, "validation"]}}
        if route.method == "PATCH":
            content["application/merge-patch+json"] = content["application/json"]
        needed = any(field.is_required() for field in route.body.model_fields.values())
        operation["requestBody"] = {"required": needed, "content": content}
    elif route.uploads:
        operation["requestBody"] = {"required": True, "content": {route.uploads: {"schema": {"type": "string"}}}}
    return operation


def _parameters(route: Route, references: Any, definitions: Json) -> Iterable[Json]:
    for name in re.findall(r"\{(\w+)", route.path):
        schema = {"type": "string", "format": "uuid"} if re.fullmatch(r"id|\w+_id", name) else {"type": "string"}
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    for name, meaning in route.headers.items():
        yield {"name": name, "in": "header", "required": False, "description": meaning, "schema": {"type": "string"}}
    if route.query:
        reference: str = references[route.query, "validation"]["$ref"]
        model: Json = definitions[reference.rpartition("/")[2]]
        for name, schema in model.get("properties", {}).items():
            parameter: Json = {"name": name, "in": "query", "required": name in model.get("required", ())}
            if "description" in schema:
                parameter["description"] = schema["description"]
            yield parameter | {"schema": schema}


def _responses(route: Route, references: Any, refusals: Sequence[int]) -> Json:
    answer: Json = {"description": HTTPStatus(route.status).phrase}
    if route.response:
        answer["content"] = {"application/json": {"schema": references[route.response, "serialization"]}}
    elif route.streams:
        answer["content"] = {kind: {"schema": {"type": "string"}} for kind in route.streams}
    problems = {*route.problems, *refusals}
    if route.body:
        problems |= {400, 413, 415, 422}
    elif route.uploads:
        problems |= {413, 422}
    if route.query:
        problems |= {422}
    document = {"application/problem+json": {"schema": references[ProblemDocument, "serialization"]}}
    said = {status: {"description": HTTPStatus(status).phrase, "content": document} for status in sorted(problems)}
    return {str(status): content for status, content in ({route.status: answer} | said).items()}
