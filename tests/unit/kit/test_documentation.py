from __future__ import annotations

import json
import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from convive_kit.docs_page import render
from convive_kit.openapi import openapi_document
from convive_kit.routes import Route, add_routes
from tests.unit.kit.sample_service import ABOUT, GUARDS, ROUTES, add, client


@pytest.fixture
def document() -> dict[str, Any]:
    return json.loads(json.dumps(openapi_document(ABOUT, ROUTES, GUARDS)))


def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"] == "3.1.0"


async def test_a_service_serves_its_document_health_calls_included() -> None:
    async with client() as http:
        document = await (await http.get("/openapi.json")).json()
    OpenAPIV31SpecValidator(document).validate()
    assert "/readyz" in document["paths"]
    assert "/i/{token}" not in document["paths"]


def test_a_call_tells_who_may_make_it_and_how_it_fails(document: dict[str, Any]) -> None:
    call = document["paths"]["/v1/guests"]["post"]
    assert call["security"] == [{"ops": []}]
    assert set(call["responses"]) == {"201", "400", "401", "409", "413", "415", "422"}
    assert call["description"] == "Adds a guest."
    assert [parameter["name"] for parameter in call["parameters"]] == ["Idempotency-Key"]


def test_query_parameters_and_path_ids_are_described(document: dict[str, Any]) -> None:
    listed = {parameter["name"]: parameter for parameter in document["paths"]["/v1/guests"]["get"]["parameters"]}
    assert listed["limit"]["schema"]["maximum"] == 200
    assert listed["state"]["description"] == "Repeat for OR."
    assert document["paths"]["/v1/guests/{id}"]["get"]["parameters"][0]["schema"]["format"] == "uuid"


def test_a_patch_takes_a_merge_patch(document: dict[str, Any]) -> None:
    body = document["paths"]["/v1/guests/{id}"]["patch"]["requestBody"]
    assert set(body["content"]) == {"application/json", "application/merge-patch+json"}
    assert body["required"] is False


async def test_a_route_that_names_an_unknown_guard_is_refused_at_the_start() -> None:
    with pytest.raises(KeyError):
        client(guards=[])
    assert add_routes.__doc__


async def test_the_page_lists_every_call_with_fields_and_examples_and_nothing_from_elsewhere() -> None:
    async with client() as http:
        response = await http.get("/docs")
        page = await response.text()
    assert response.content_type == "text/html"
    for text in ("/v1/guests/{id}", "seats[].number", "Counted from the door.", "jeanne@example.com", "readyz"):
        assert text in page.replace("&#34;", '"')
    assert "<script" not in page
    assert re.findall(r'(?:src|href)="(?!#|/openapi)', page) == []
    assert "style-src 'sha256-" in response.headers["Content-Security-Policy"]


def test_markup_in_a_description_stays_text() -> None:
    routes = [Route("POST", "/x", add, "<b>bold</b>", body=None)]
    page, _ = render(openapi_document(ABOUT, routes, []))
    assert "<b>bold" not in page
