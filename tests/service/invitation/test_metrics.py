"""What the running services tell of themselves on /metrics."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from deploy.docs import Described, of_the_directory, of_the_invitation_service
from deploy.local.programs import promtool
from tests.running import Stack
from tests.speaking import Api, until

DIRECTORY, INVITATION = of_the_directory(), of_the_invitation_service()
_OF_HISTOGRAMS = ("_bucket", "_count", "_sum")

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


async def scraped(api: Api) -> Samples:
    """Every sample by its name and labels."""
    text = (await api.call("GET", "/metrics", accept="text/plain")).text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("convive_")
    }


def total(samples: Samples, name: str, **labels: str) -> float:
    """The sum of all samples of that name with these labels."""
    return sum(
        value for (found, has), value in samples.items() if found == name and labels.items() <= dict(has).items()
    )


def metric_of(sample: str, known: Mapping[str, Described]) -> Described:
    """The metric that a sample belongs to."""
    for name in (sample, *(sample.removesuffix(end) for end in _OF_HISTOGRAMS)):
        if name in known:
            return known[name]
    raise AssertionError(f"{sample} is not in docs/metrics.md")


async def test_everything_told_is_documented_with_its_labels_and_nothing_documented_is_missing(stack: Stack) -> None:
    member, _ = await stack.invite()
    await stack.until_state(member, "sent")
    # Something of everything that is only told once there is some of it.
    await stack.publish("user.created", member.id, {"member": {}})
    await stack.directory.call("POST", "/v1/sessions", json={"email": member.email, "password": "a wrong password"})
    await until(lambda: parked_once(stack))
    for api, known in ((stack.directory, DIRECTORY), (stack.invitation, INVITATION)):
        samples = await scraped(api)
        seen: set[str] = set()
        for name, labels in samples:
            metric = metric_of(name, known)
            seen.add(metric.name)
            told = {label for label, _ in labels} - ({"le"} if metric.type == "histogram" else set())
            assert told == set(metric.labels), name
        # The directory has nothing parked, and a gauge without a group has no line.
        assert set(known) - seen <= {"convive_parked_messages"}


async def parked_once(stack: Stack) -> bool:
    return total(await scraped(stack.invitation), "convive_events_total", outcome="parked") > 0


async def test_promtool_has_nothing_to_say_about_the_names(stack: Stack) -> None:
    for api in (stack.directory, stack.invitation):
        text = (await api.call("GET", "/metrics", accept="text/plain")).text
        ours = "".join(line for line in text.splitlines(keepends=True) if "convive_" in line)
        check = [promtool(), "check", "metrics"]
        run = await asyncio.to_thread(subprocess.run, check, input=ours, capture_output=True, text=True, timeout=60)
        assert run.returncode == 0, run.stdout + run.stderr


async def test_the_way_in_shows_in_the_numbers(stack: Stack) -> None:
    before, directory_before = await scraped(stack.invitation), await scraped(stack.directory)
    member = await stack.new_member()
    await stack.come_in(member)
    await stack.until_state(member, "active")

    async def counted() -> bool:
        active = {"trigger": "signed_in", "from": "password_set", "to": "active"}
        now = await scraped(stack.invitation)
        return total(now, STEPS, **active) > total(before, STEPS, **active)

    await until(counted)
    after, directory_after = await scraped(stack.invitation), await scraped(stack.directory)

    def more(name: str, **labels: str) -> float:
        return total(after, name, **labels) - total(before, name, **labels)

    assert more("convive_events_total", type="user.created", outcome="handled") >= 1
    assert more(STEPS, trigger="accepted", **{"from": "pending", "to": "sent"}) >= 1
    assert more("convive_invitation_event_to_sent_seconds_count") >= 1
    assert more("convive_delivery_attempt_seconds_count", channel="email", outcome="accepted") >= 1
    assert more("convive_publish_seconds_count", outcome="confirmed") >= 1
    assert more("convive_group_commit_seconds_count", collection="invitations") >= 1
    assert more("convive_http_request_seconds_count", route="/i/{token}/password", status="200") >= 1
    assert total(after, "convive_bus_connected") == 1
    assert total(after, "convive_bus_consumers") == 3
    assert total(after, "convive_delivery_breaker_open", channel="email") == 0
    hashed = "convive_password_hash_seconds_count"
    assert total(directory_after, hashed) > total(directory_before, hashed)
    news = {"queue": "directory.events", "outcome": "handled"}
    assert total(directory_after, "convive_events_total", **news) > total(
        directory_before, "convive_events_total", **news
    )


STEPS = "convive_invitation_transitions_total"


async def test_what_stands_in_the_database_is_told_and_read_again(stack: Stack) -> None:
    async with stack.another("invitation", role="web") as fresh:
        samples = await scraped(fresh)
    async with stack.documents() as database:
        invitations = await database["invitations"].count_documents({"announced": True})
    assert 0 < total(samples, "convive_invitations") <= invitations
    for reading in ("invitations", "due", "outbox", "parked", "runs"):
        assert total(samples, "convive_reading_success", reading=reading) == 1
    assert total(samples, "convive_due_lag_seconds") >= 0
    # A process that only serves pages consumes nothing and sends nothing.
    assert total(samples, "convive_bus_consumers") == 0
    assert total(samples, "convive_delivery_slots") == 0
