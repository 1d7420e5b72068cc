"""What the service says of its own surroundings: right when all is well, and to the point when a part is broken."""

from __future__ import annotations

import secrets
from typing import Any

import aio_pika
import pytest
from pydantic import SecretStr

from convive_contracts import topology
from deploy.local.addresses import free_port
from deploy.local.broker import Broker
from invitation.ops.checks import settings_checks
from invitation.settings import InvitationSettings
from tests.running import Stack
from tests.speaking import until
from tests.stacks import OwnStack

SETTINGS: dict[str, Any] = {
    "invitation_url": "https://convive.invalid",
    "directory_url": "https://directory.convive.invalid",
    "service_token": SecretStr(secrets.token_urlsafe(32)),
    "ops_token": SecretStr(secrets.token_urlsafe(32)),
    "link_keys": (SecretStr(secrets.token_urlsafe(32)),),
    "mail_from": "noreply@convive.invalid",
}


async def checks(stack: Stack) -> dict[str, dict[str, Any]]:
    answer = (await stack.invitation.call("GET", "/v1/checks", token=stack.ops_token)).ok()
    assert answer["ok"] == all(check["ok"] for check in answer["checks"])
    assert all(check["what_to_do"] for check in answer["checks"] if not check["ok"])
    return {check["name"]: check for check in answer["checks"]}


def failing(found: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name, check in found.items() if not check["ok"]}


async def test_all_is_well_and_each_check_says_so(stack: Stack) -> None:
    found = await checks(stack)
    assert failing(found) == set()

    async def says_what_it_is_at() -> bool:
        answer = (await stack.invitation.call("GET", "/v1/checks", token=stack.ops_token)).ok()
        said = [(process["parts"], process["providers"]) for process in answer["processes"]]
        return (["web", "worker"], {"email": True, "sms": True}) in said

    await until(says_what_it_is_at)
    parts = {"broker", "topology", "consumers", "database", "indexes", "clock", "mail server", "directory"}
    assert parts < set(found)
    # The tests' addresses are of this machine alone, and its mail stays there.
    assert "CONVIVE_INVITATION_URL" in found["invitation address"]["what_to_do"]
    assert found["secrets"]["what_to_do"] is None


async def test_a_stopped_broker_a_closed_mail_port_a_wrong_service_token_are_each_named(
    own_stack: OwnStack, own_broker: Broker
) -> None:
    port = str(free_port())
    stack = await own_stack(
        broker=own_broker,
        invitation_settings={"CONVIVE_SMTP_PORT": port, "CONVIVE_SERVICE_TOKEN": secrets.token_urlsafe(32)},
    )
    found = await checks(stack)
    assert failing(found) == {"mail server", "directory"}
    assert "no connection" in found["mail server"]["detail"]
    assert "CONVIVE_SMTP_PORT" in found["mail server"]["what_to_do"]
    assert "CONVIVE_SERVICE_TOKEN" in found["directory"]["what_to_do"]

    await own_broker.stop()
    found = await checks(stack)
    assert failing(found) == {"mail server", "directory", "broker"}
    assert "CONVIVE_AMQP_URL" in found["broker"]["what_to_do"]


async def test_a_dropped_index_is_named(own_stack: OwnStack) -> None:
    stack = await own_stack()
    async with stack.documents() as database:
        await database["invitations"].drop_index("due")
        await database["parked"].drop_index("alike")
        await database["invitations"].create_index("state", name="due")
    found = await checks(stack)
    assert failing(found) == {"indexes"}
    assert "invitations.due" in found["indexes"]["detail"].lower()
    assert "parked.alike" in found["indexes"]["detail"].lower()


async def test_a_queue_that_nobody_reads_is_missing_or_made_otherwise_is_named(own_stack: OwnStack) -> None:
    stack = await own_stack()
    await stack.directory_service.stop()
    async with await aio_pika.connect(stack.amqp_url) as connection:
        channel = await connection.channel()
        await channel.queue_delete(topology.LOG)
        await channel.queue_delete(topology.DIRECTORY_PARKED)
        await channel.declare_queue(topology.DIRECTORY_PARKED, durable=True)
    found = await checks(stack)
    assert {"topology", "consumers"} <= failing(found)
    assert "convive.log is missing" in found["topology"]["detail"].lower()
    assert "directory.parked is different" in found["topology"]["detail"].lower()
    assert "nobody reads directory.events" in found["consumers"]["detail"].lower()
    assert "python -m directory" in found["consumers"]["what_to_do"]
    async with await aio_pika.connect(stack.amqp_url) as connection:
        channel = await connection.channel()
        with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):  # looking has made nothing
            await channel.declare_queue(topology.LOG, passive=True)


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"invitation_url": "http://convive.invalid"}, "invitation address"),
        ({"directory_url": "https://127.0.0.1:8081"}, "directory address"),
        ({"ops_token": SecretStr("change-me-change-me")}, "secrets"),
        ({"ops_token": SecretStr("aaaaaaaaaaaaaaaaaaaaaaaa")}, "secrets"),
        ({"ops_token": SETTINGS["service_token"]}, "secrets"),
        ({"link_life": "PT2H"}, "link life"),
        ({"smtp_host": "mail.convive.invalid"}, "mail encryption"),
        ({"mail_from": "noreply@convive.example"}, "mail sender"),
    ],
)
def test_settings_that_work_and_should_not_stay_so_are_remarked(changed: dict[str, Any], name: str) -> None:
    assert [check.name for check in settings_checks(InvitationSettings(**SETTINGS)) if check.what_to_do] == []
    (remark,) = [check for check in settings_checks(InvitationSettings(**SETTINGS | changed)) if check.what_to_do]
    assert (remark.name, remark.ok) == (name, True)
