"""Each service keeps to the interface it describes, whatever is sent to it: schemathesis makes it up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from tests.service.invitation.test_access import ADMITS, ROUTES, world
from tests.speaking import Api, new_client
from tests.stacks import OwnStack

EXAMPLES = 6
"""Calls per route and kind of data, spread over all who are let in; a few more by all others."""
# Nobody looks at a body that is too large, nor at the 31st that somebody sends to one link within a minute.
_REFUSALS = ["400", "401", "403", "404", "409", "413", "415", "422", "429"]
CONFIG = schemathesis.Config.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": _REFUSALS}}})
_NO_MATTER = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]

Problems = list[str]


def exercise(api: Api, document: Any, guards: Mapping[str, str], ids: Mapping[str, str], callers: Any) -> Problems:
    """Call every route of one service; what did not keep to the document."""
    problems: Problems = []
    with requests.Session() as session:
        for found in schemathesis.openapi.from_dict(document, config=CONFIG).get_all_operations():
            assert isinstance(found, Ok), found
            operation = found.ok()
            if endless(operation.definition.raw):
                continue
            admitted = ADMITS.get(guards[operation.label], {"nobody"})
            lets_in = [callers[name] for name in sorted(admitted)]
            others = [token for name, token in sorted(callers.items()) if name not in admitted]
            path, has = real(operation.path, ids), {parameter.location for parameter in operation.iter_parameters()}
            for mode, tokens, path_parameters, examples in (
                (GenerationMode.POSITIVE, lets_in, path, EXAMPLES),
                (GenerationMode.POSITIVE, lets_in, None, EXAMPLES // 2),
                (GenerationMode.POSITIVE, others, None, EXAMPLES // 4),
                (GenerationMode.NEGATIVE, lets_in, path if operation.body or has - {"path"} else None, EXAMPLES),
            ):
                if mode.is_negative and not operation.body and not has:
                    continue  # there is nothing to get wrong
                cases = operation.as_strategy(generation_mode=mode, path_parameters=path_parameters)
                call = a_call(api, session, CHECKS + ([negative_data_rejection] if mode.is_negative else []))
                try:
                    some(examples)(given(case=cases, token=st.sampled_from(tokens))(call))()
                except Unsatisfiable:
                    # What takes any text cannot be got wrong.
                    assert mode.is_negative, operation.label
                except (Exception, BaseExceptionGroup) as wrong:
                    problems.append(f"{operation.label}: {wrong}")
    return problems


def endless(operation: Any) -> bool:
    """Whether an answer goes on as long as somebody listens: there is no end at which to look at it."""
    return "text/event-stream" in str(operation["responses"])


def real(path: str, ids: Mapping[str, str]) -> dict[str, str] | None:
    """Ids of what is there, for the parts of a path; None where it has none."""
    return {name: id for name, id in ids.items() if f"{{{name}}}" in path} or None


def a_call(api: Api, session: requests.Session, checks: Sequence[Any]) -> Callable[[Case, str | None], None]:
    def call(case: Case, token: str | None) -> None:
        # Each from an address of its own, so that no limit of rate is met.
        headers = {"X-Forwarded-For": new_client(), "Accept": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        answer = case.call(api.url, session=session, headers=headers, timeout=30)
        if answer.status_code == 400 and "Got more than 8190 bytes" in answer.text:
            reject()  # a longer request line than any server reads, refused before there is a route
        case.validate_response(answer, checks=list(checks), headers=headers)

    return call


def some(examples: int) -> Callable[[Any], Any]:
    """The same examples in every run."""
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=_NO_MATTER,
        report_multiple_bugs=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("service", ["directory", "invitation"])
async def test_a_service_answers_as_its_document_says(own_stack: OwnStack, service: str) -> None:
    stack = await own_stack()
    here = await world(stack)
    api, ids = {
        "directory": (stack.directory, {"id": here.dossier.id, "member_id": here.member.id, "key": uuid4().hex[:16]}),
        "invitation": (stack.invitation, {"id": here.member.invitation_id, "token": here.link.rpartition("/")[2]}),
    }[service]
    document = (await api.call("GET", "/openapi.json")).ok()

    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1.")
    problems = await asyncio.to_thread(exercise, api, document, ROUTES[service], ids, here.callers)
    assert not problems, f"{len(problems)}\n" + "\n\n".join(problems)
