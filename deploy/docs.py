"""The pages of docs/ that are made from the code: `python -m deploy.docs` (`make docs`) writes them anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from prometheus_client.metrics import MetricWrapperBase

from convive_kit.metrics import Metrics
from convive_kit.settings import configuration_page
from deploy.local.programs import REPOSITORY
from directory.metrics import DirectoryMetrics
from directory.settings import DirectorySettings
from invitation import capacity
from invitation.cli import reference
from invitation.lifecycle import diagram
from invitation.metrics import InvitationMetrics
from invitation.settings import InvitationSettings

FOLDER = REPOSITORY / "docs"


def pages() -> dict[str, str]:
    """What each of these pages says, by its file name."""
    services = [("The directory", DirectorySettings), ("The invitation service", InvitationSettings)]
    return {
        "configuration.md": configuration_page(services),
        "lifecycle.md": diagram.page(),
        "cli.md": reference.page((FOLDER / "cli-session.txt").read_text()),
        "metrics.md": metrics_page(),
        "scaling.md": scaling_page((FOLDER / "scaling.md").read_text()),
    }


@dataclass(frozen=True, slots=True)
class Described:
    """One metric as `/metrics` shows it. A histogram has `_bucket`, `_sum` and `_count` behind its name."""

    name: str
    type: str
    labels: tuple[str, ...]
    meaning: str


def described(metrics: Metrics) -> dict[str, Described]:
    """What a service counts, by name, without what Python and the machine tell of themselves."""
    found = {
        gauge.name: Described(gauge.name, "gauge", tuple(gauge.labels), gauge.meaning)
        for gauge in metrics.readings.declared
    }
    # The registry keeps its metrics to itself, and so do they the names of their labels.
    collectors: Mapping[Any, Any] = cast("Any", metrics.registry)._collector_to_names
    for collector in collectors:
        for family in collector.describe() if isinstance(collector, MetricWrapperBase) else ():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = tuple(cast("Any", collector)._labelnames)
            found[name] = Described(name, family.type, labels, family.documentation)
    return {name: found[name] for name in sorted(found) if name.startswith("convive_")}


def of_the_directory() -> dict[str, Described]:
    return described(DirectoryMetrics())


def of_the_invitation_service() -> dict[str, Described]:
    return described(InvitationMetrics())


def metrics_page() -> str:
    """docs/metrics.md."""
    directory, invitation = of_the_directory(), of_the_invitation_service()
    both = {name: metric for name, metric in directory.items() if invitation.get(name) == metric}
    chapters = [
        ("Both services", both),
        ("The directory", {name: metric for name, metric in directory.items() if name not in both}),
        ("The invitation service", {name: metric for name, metric in invitation.items() if name not in both}),
    ]
    lines = [_ABOUT_METRICS]
    for title, found in chapters:
        lines += ["", f"## {title}", "", "| metric | type | labels | meaning |", "| --- | --- | --- | --- |"]
        for metric in found.values():
            labels = ", ".join(f"`{label}`" for label in metric.labels)
            lines.append(f"| `{metric.name}` | {metric.type} | {labels} | {metric.meaning} |")
    return "\n".join(lines) + "\n"


_ABOUT_METRICS = """# Metrics

`GET /metrics` of both services answers in the format of Prometheus, without a token: keep it inside your network.
Durations are seconds. No label holds a name, an address, a link, a path or an id, and each has few values: routes are
templates, types and fingerprints that nobody knows are `unknown` or `other`.

Each process counts what it does itself: add them up (`sum`). What is read from the database (`convive_invitations`,
`convive_invitation_oldest_pending_age_seconds`, `convive_due_*`, `convive_outbox_*`, `convive_parked_messages`,
`convive_run*`) is the same whichever process tells it: take the largest (`max by (…)`). It is read when somebody
scrapes, at most every 15 seconds; what cannot be read is left out, and `convive_reading_success` is 0.

Beside these there is what `prometheus-client` tells of the process: memory, CPU, open files, garbage collection
(`process_*`, `python_*`). This page is made from the code; alerts and dashboard are in `deploy/prometheus` and
`deploy/grafana`, what to do about an alert in [runbooks](runbooks/README.md)."""


_SIZING = ("<!-- sizing: made by `make docs` -->\n", "<!-- end of sizing -->\n")
_DAYS = (10_000, 1_000_000, 100_000_000)


def scaling_page(text: str) -> str:
    """docs/scaling.md as it is, with the table of sizes made anew."""
    begins, ends = _SIZING
    before, _, rest = text.partition(begins)
    return before + begins + "\n".join(_sizes()) + "\n" + ends + rest.partition(ends)[2]


def _sizes() -> list[str]:
    costs = capacity.measured()
    plans = [capacity.plan(per_day, capacity.Habits(), costs) for per_day in _DAYS]

    def row(name: str, told: Callable[[capacity.Plan], str]) -> str:
        return f"| {name} | {' | '.join(map(told, plans))} |"

    def part(number: int) -> Callable[[capacity.Plan], str]:
        return lambda plan: f"{plan.parts[number].cores:,.2f} → {plan.parts[number].count:,}"

    counted = {"database": "database: cores → shards", "broker": "broker: cores → nodes' worth"}
    return [
        row("a day", lambda plan: f"{plan.per_day:,.0f}"),
        f"| --- |{' ---: |' * len(plans)}",
        row("invitations a second, at the peak", lambda plan: f"{plan.invitations:,.1f}"),
        row("pages a second", lambda plan: f"{plan.pages:,.1f}"),
        row("passwords a second", lambda plan: f"{plan.passwords:,.1f}"),
        *(row(counted.get(name, f"{name}: cores → processes"), part(n)) for n, name in enumerate(capacity.PARTS)),
        row("stored in a year, one copy", lambda plan: f"{plan.stored_in_a_year / 1e9:,.1f} GB"),
        row("the log of thirty days, one copy", lambda plan: f"{plan.log / 1e9:,.1f} GB"),
        "",
        f"Measured on {costs.measured}, {costs.machine}.",
    ]


def write(folder: Path = FOLDER) -> None:
    for name, text in pages().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    write()
