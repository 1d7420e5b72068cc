"""The figures of a run as a table for people and as JSON for programs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from tests.chaos.plan import Fault
from tests.chaos.run import Outcome
from tests.chaos.trouble import Incident

_SHOWN = 12


def command(seed: int, minutes: float, invitations: int) -> str:
    """What runs the same again."""
    return f'make chaos ARGS="--seed {seed} --minutes {minutes:g} --invitations {invitations}"'


def plan_lines(plan: Sequence[Fault]) -> Iterator[str]:
    yield from map(str, plan)


def table(outcome: Outcome) -> Iterator[str]:
    """The verdict, what is wrong in words, and how long the system took to work again."""
    verdict, ledger = outcome.verdict, outcome.ledger
    states = ", ".join(f"{count} {state}" for state, count in outcome.states.items())
    yield f"seed {outcome.seed}, {len(outcome.incidents)} faults in {outcome.minutes:g} minutes"
    yield f"{sum(outcome.states.values())} invitations: {states}"
    yield (
        f"{outcome.mails} mails, {outcome.events} events in the log, {ledger.published} messages published, "
        f"{ledger.calls} calls, {ledger.retried} tries that were cut off or told to come again"
    )
    yield ""
    repeats = f"within the bound of {verdict.bound}" if not verdict.beyond else f"{len(verdict.beyond)} beyond"
    rows = (
        ("lost", str(len(verdict.lost)), "0", not verdict.lost),
        ("stuck", str(len(verdict.stuck)), "0", not verdict.stuck),
        ("unexpected", str(len(verdict.unexpected)), "0", not verdict.unexpected),
        ("duplicated", str(verdict.repeats), repeats, not verdict.beyond),
        ("illegal transitions", str(len(verdict.illegal)), "0", not verdict.illegal),
    )
    for name, found, bar, good in rows:
        yield f"{name:<20} {found:>6}   bar: {bar:<28} {'ok' if good else 'MISSED'}"
    yield f"(events published more than once, which receivers know by their id: {verdict.events_repeated})"
    if verdict.timed_out:
        yield f"({verdict.timed_out} of the duplicates: the mail server's answer took longer than an attempt may)"
    if outcome.errors:
        errors = ", ".join(f"{count} {name}" for name, count in outcome.errors.items())
        yield f"(logged as errors by the services: {errors})"
    for name, found in _wrong(outcome):
        if found:
            yield ""
            yield f"{name}:"
            yield from (f"  {line}" for line in found[:_SHOWN])
            if len(found) > _SHOWN:
                yield f"  … and {len(found) - _SHOWN} more"
    yield ""
    yield "seconds from the end of a fault until an invitation made after it was sent:"
    yield f"{'recovery after':<34} {'faults':>6} {'min':>7} {'median':>7} {'max':>7} {'alone, max':>12}"
    by_sort: dict[str, list[Incident]] = defaultdict(list)
    for incident in outcome.incidents:
        by_sort[incident.fault.sort].append(incident)
    for sort, those in sorted(by_sort.items()):
        yield _recovery_row(sort, those, outcome.incidents)
    yield _recovery_row("all", outcome.incidents, outcome.incidents)
    yield "(alone: no other fault until then)"
    yield ""
    yield ", ".join(f"{name} {seconds:.0f} s" for name, seconds in outcome.seconds.items())
    yield f"again: {command(outcome.seed, outcome.minutes, outcome.invitations)}"


def result(outcome: Outcome) -> dict[str, Any]:
    """Everything, for programs."""
    verdict = outcome.verdict
    first = min((incident.begin for incident in outcome.incidents), default=0.0)
    return {
        "seed": outcome.seed,
        "minutes": outcome.minutes,
        "invitations": outcome.invitations,
        "command": command(outcome.seed, outcome.minutes, outcome.invitations),
        "passed": verdict.passed,
        "lost": len(verdict.lost),
        "stuck": len(verdict.stuck),
        "unexpected": len(verdict.unexpected),
        "duplicated": verdict.repeats,
        "duplicated_bound": verdict.bound,
        "duplicated_after_timeout": verdict.timed_out,
        "duplicated_beyond": len(verdict.beyond),
        "illegal_transitions": len(verdict.illegal),
        "events_repeated": verdict.events_repeated,
        "findings": dict(_wrong(outcome)),
        "states": dict(outcome.states),
        "mails": outcome.mails,
        "mails_cut_after_data": outcome.cut_after_data,
        "events": outcome.events,
        "logged_errors": dict(outcome.errors),
        "seconds": outcome.seconds,
        "recovery_seconds": dict(sorted(_recoveries(outcome.incidents).items())),
        "faults": [
            {
                "number": incident.fault.number,
                "what": incident.fault.what,
                "planned_at": incident.fault.at,
                "begin": round(incident.begin - first + outcome.plan[0].at, 2),
                "end": round(incident.end - first + outcome.plan[0].at, 2),
                "recovery": None if incident.recovery is None else round(incident.recovery, 2),
                "alone": _is_alone(incident, outcome.incidents),
                "repeats_allowed": incident.allowed,
            }
            for incident in outcome.incidents
        ],
    }


def _recovery_row(name: str, those: Sequence[Incident], among: Sequence[Incident]) -> str:
    known = [incident.recovery for incident in those if incident.recovery is not None]
    if not known:
        return f"{name:<34} {len(those):>6}   never"
    alone = [incident.recovery for incident in those if incident.recovery is not None and _is_alone(incident, among)]
    row = f"{name:<34} {len(those):>6} {min(known):>7.1f} {median(known):>7.1f} {max(known):>7.1f}"
    return f"{row} {max(alone):>12.1f}" if alone else row


def _is_alone(incident: Incident, among: Sequence[Incident]) -> bool:
    """Whether no other fault lasted or began between its end and the recovery from it."""
    recovered = incident.end + (incident.recovery or 0.0)
    return not any(other is not incident and other.begin < recovered and other.end > incident.end for other in among)


def _wrong(outcome: Outcome) -> Iterator[tuple[str, list[str]]]:
    verdict = outcome.verdict
    yield "lost", verdict.lost
    yield "stuck", verdict.stuck
    yield "unexpected", verdict.unexpected
    yield "duplicated beyond the bound", verdict.beyond
    yield "illegal transitions", verdict.illegal


def _recoveries(incidents: Sequence[Incident]) -> dict[str, list[float | None]]:
    found: dict[str, list[float | None]] = defaultdict(list)
    for incident in incidents:
        found[incident.fault.sort].append(None if incident.recovery is None else round(incident.recovery, 2))
    return found
