"""What was measured, as text: printed, and kept in docs/benchmarks.json and docs/benchmarks.md."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench import fairness, memory, operations, round_trips, sent, startup

Lines = list[str]
_PACKAGES = ("aio-pika", "aiosmtplib", "faststream", "motor", "pydantic", "pymongo", "uvloop")


# --- one chapter per case -----------------------------------------------------------------------------------------


def sent_chapter(runs: Sequence[sent.Run]) -> Lines:
    """Ratios first, then the rates behind them."""
    lines = ["| Convive, as a multiple of | median | lowest to highest | bar | |", "| --- | --- | --- | --- | --- |"]
    bars = {sent.PEER: 6.0, sent.PREPARED: 3.0, sent.CELERY: 6.0, sent.NODE: 2.0, sent.FLOOR: 0.8}
    for to, bar in bars.items():
        if sent.of(runs, to) and sent.of(runs, sent.PRODUCT):
            value, low, high = sent.middle(sent.ratios(runs, to))
            lines.append(f"| {to} | {value:.2f} × | {low:.2f} to {high:.2f} | ≥ {bar:g} × | {_verdict(value >= bar)} |")
    lines += [
        "",
        "| contender | per second | from … to | 10 % to 90 % | own CPU each | broker | database | sink | memory |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for contender in sent.CONTENDERS:
        if mine := sent.of(runs, contender):
            rate, low, high = sent.middle([run.rate for run in mine])
            inner = sent.middle([run.rate_of_the_middle for run in mine])[0]
            cpu = (
                f"{sent.middle([getattr(run, name) for run in mine])[0]:.2f} ms"
                for name in ("cpu_ms", "broker_cpu_ms", "database_cpu_ms", "sink_cpu_ms")
            )
            most = max(run.highest_mb for run in mine)
            lines.append(
                f"| {contender} | {rate:.0f} | {low:.0f} to {high:.0f} | {inner:.0f} | {' | '.join(cpu)}"
                f" | {most:.0f} MB |"
            )
    return lines + _faults(f"{run.contender}: {fault}" for run in runs for fault in run.faults)


def round_trips_chapter(trips: Sequence[round_trips.Trips]) -> Lines:
    lines = ["| database commands per invitation | | bar | | by command |", "| --- | --- | --- | --- | --- |"]
    for one, bar in zip(trips, (4.0, 0.1), strict=True):
        parts = ", ".join(f"{name} {count:.3f}" for name, count in one.by_command.items())
        lines.append(
            f"| {one.way} ({one.invitations} invitations) | {one.per_invitation:.3f} | ≤ {bar:g}"
            f" | {_verdict(one.per_invitation <= bar)} | {parts} |"
        )
    idle = ", ".join(f"{name} {count:.1f}" for name, count in trips[0].idle_per_second.items())
    lines += ["", f"An idle worker sends, per second: {idle or 'nothing'}. That is subtracted above."]
    return lines + _faults(f"{one.way}: {fault}" for one in trips for fault in one.faults)


def memory_chapter(footprints: Sequence[memory.Footprint]) -> Lines:
    lines = [
        "| service | highest | bar | | at start | median | at the end | worked through |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {one.service} | {one.highest:.0f} MB | < 120 MB | {_verdict(one.highest < 120)} | {one.at_start:.0f} MB"
        f" | {one.median:.0f} MB | {one.at_end:.0f} MB | {one.worked_through:,} of {one.waiting:,}"
        f" in {one.seconds:.0f} s |"
        for one in footprints
    ]
    return lines + _faults(f"{one.service}: {fault}" for one in footprints for fault in one.faults)


def start_chapter(starts: Sequence[startup.Start]) -> Lines:
    lines = ["| service | median | lowest to highest | bar | | first start |", "| --- | --- | --- | --- | --- | --- |"]
    for name in startup.SERVICES:
        first = next(one.seconds for one in starts if one.service == name and one.first)
        value, low, high = sent.middle([one.seconds for one in starts if one.service == name and not one.first])
        lines.append(
            f"| {name} | {value:.2f} s | {low:.2f} to {high:.2f} | ≤ 1.5 s | {_verdict(value <= 1.5)} | {first:.2f} s |"
        )
    return lines


def operations_chapter(results: Sequence[operations.Result]) -> Lines:
    """What is slower than its bar first in each table; of several rounds the median, and the best in parentheses."""
    held = [one for one in results if isinstance(one, operations.Population)]
    few, many = held[0].stored, held[-1].stored
    looked = {(one.stored, one.what): one for one in results if isinstance(one, operations.Looked)}
    lines = [
        f"| question | rows | p50, {few:,} stored | p50, {many:,} stored | ratio | bar | p99 of the latter | bar | |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    rows: list[tuple[bool, str]] = []
    for what in dict.fromkeys(what for _, what in looked):
        one, other = looked[few, what], looked[many, what]
        ratio, p99 = min(other.p50) / min(one.p50), median(other.p99)
        is_list = what != operations.OVERVIEW
        compared = is_list and one.items == other.items
        met = (ratio <= 1.5 or not compared) and min(other.p99) < 50
        shown = f"{one.items} → {other.items}{', short' if other.goes_on and other.items < 50 else ''}"
        line = (
            f"| {what} | {shown if is_list else ''} | {min(one.p50):.1f} ms"
            f" | {median(other.p50):.1f} ({min(other.p50):.1f}) ms | {ratio:.2f} | {'≤ 1.5' if compared else ''}"
            f" | {p99:.1f} ({min(other.p99):.1f}) ms | < 50 ms | {_verdict(met)} |"
        )
        rows.append((met, line))
    lines += [row for _, row in sorted(rows, key=lambda row: row[0])]
    lines += [
        "",
        "| export | rows per second, each round | bar | | memory before | highest | after |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for stored, format in dict.fromkeys((o.stored, o.format) for o in results if isinstance(o, operations.Exported)):
        runs = [o for o in results if isinstance(o, operations.Exported) and (o.stored, o.format) == (stored, format)]
        rates = ", ".join(f"{one.rate:,.0f}" for one in runs)
        bar = f"≥ 20,000 | {_verdict(max(one.rate for one in runs) >= 20_000)}" if stored == many else " | "
        lines.append(
            f"| {stored:,} as {format} | {rates} | {bar} | {runs[0].before:.0f} MB"
            f" | {max(one.highest for one in runs):.0f} MB | {runs[-1].after:.0f} MB |"
        )
    lines += ["", "| stored | made in | bytes each: document | on disk | indexes |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {one.stored:,} | {one.seconds:.0f} s | {one.document:.0f} | {one.on_disk:.0f} | {one.indexes:.0f} |"
        for one in held
    ]
    return lines


def fairness_chapter(results: Sequence[fairness.Wait | fairness.Import]) -> Lines:
    """How long those who were invited by hand waited, and the import beside them."""
    lines = ["| invited by hand | times | p50 | p99 | longest | bar | |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for when in (fairness.ALONE, fairness.BESIDE):
        waits = sorted(one.seconds for one in results if isinstance(one, fairness.Wait) and one.when == when)
        p99 = waits[min(len(waits) - 1, int(len(waits) * 0.99))]
        bar = ("≤ 1 s", _verdict(p99 <= 1.0)) if when == fairness.BESIDE else ("", "")
        figures = (f"{1000 * seconds:.0f} ms" for seconds in (median(waits), p99, waits[-1]))
        lines.append(f"| {when} | {len(waits)} | {' | '.join(figures)} | {bar[0]} | {bar[1]} |")
    [whole] = [one for one in results if isinstance(one, fairness.Import)]
    speed = f"the last mail {whole.seconds:.0f} s after its start ({whole.rows / whole.seconds:.0f} per second)"
    preview = f"{whole.rows:,} rows, previewed in {whole.preview_seconds:.1f} s"
    lines += ["", f"The import: {preview}, {speed}; the directory took {whole.directory_mb} MB at most."]
    return lines


TITLES = {
    "sent": "From `user.created` to `sent`, recorded and published",
    "round_trips": "Round trips to the database",
    "memory": "Memory while events wait",
    "start": "From start to ready",
    "fairness": "Invited by hand while an import goes out",
    "operations": "What operators wait for",
}
METHODS = {
    "fairness": """\
A table of {rows:,} rows is uploaded, previewed and started over the directory's HTTP API; one process of each service,
the mails go to a sink. Twice a second somebody is added to another file by one call. The clock runs from that call to
the moment at which the provider had taken the mail, as the invitation records it.""",
    "sent": """\
{events:,} events are published before a contender starts. The clock runs from its taking the first of them to the
last `invitation.sent` in the queue of the directory, both seen from outside by asking the broker for the lengths of
the two queues 50 times a second. So the rate covers everything: taking in, sending, recording, publishing; start-up
is not in it. (Convive takes events in faster than it sends, so the rate between the 10 % and the 90 % mark of the
published events flatters it; it is shown beside.) The contenders take turns on the same broker and database,
emptied each time. After each run it is checked that all invitations are `sent` in the database, that no outbox
holds anything, and that as many events were published and mails taken as events had been there. CPU is user and
system time of the processes over the same span. The mails go to {sink}.

What the peers do, and what they would lose in a crash: [tests/bench/peers](../tests/bench/peers/README.md).""",
    "round_trips": """\
A listener in the worker counts the commands its drivers send (heartbeats are none). One at a time: each event is
published when everything that follows from the one before is done, its outbox entry pulled. Under load: {events:,}
events wait when the worker starts.""",
    "memory": """\
Both services run at once; {waiting:,} `user.created` wait for the one, as many `invitation.sent` for the other. The
mail server refuses connections. Resident memory (VmRSS, VmHWM).""",
    "start": """\
Process start to the first 200 of `/readyz`, asked every 10 ms; the two services in turn. The first start of each,
shown apart, also makes queues and indexes.""",
    "operations": """\
The service's web part alone, over HTTP, one request after another on one connection; first pages of 50. Each question
is asked 60 times a round: of several rounds the median, in parentheses the best, by which bars are judged: another
tenant of the machine makes a round slower and never faster. Where the small database has fewer rows to show than the
large one, the ratio compares unequal pages, and no bar is set for it. A page is short where a rare combination would
scan too far: it ends after 20 ms and says where it goes on. The overview is counted in the background and says of when
it is. Memory is resident memory (VmRSS) of the service. Indexes are made after the documents, so they are denser than
those that grew.""",
}


# --- the page -----------------------------------------------------------------------------------------------------


def page(kept: dict[str, Any]) -> str:
    """docs/benchmarks.md."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench` (`make bench CASE=sent` runs one case). Ratios count, and they come from one run in",
        "which the contenders take turns; the absolute figures are those of one small machine that broker, database,",
        "mail sink and service share.",
    ]
    for case, title in TITLES.items():
        if case not in kept:
            continue
        chapter = kept[case]
        lines += ["", f"## {title}", "", *chapter["text"], "", METHODS[case].format(**chapter["settings"])]
        lines += ["", f"`{chapter['command']}`, {chapter['date']}, on {chapter['machine']}."]
    return "\n".join(lines) + "\n"


def keep(folder: Path, chapters: dict[str, Any]) -> None:
    """Put the chapters into both files; those of cases that were not run stay as they were."""
    data = folder / "benchmarks.json"
    kept: dict[str, Any] = json.loads(data.read_text()) if data.exists() else {}
    kept |= chapters
    data.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    (folder / "benchmarks.md").write_text(page(kept))


def machine(engines: dict[str, str], *, in_memory: bool) -> str:
    """What it ran on, in one sentence."""
    model = next(
        (line.partition(": ")[2] for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    memory_gb = next(int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")) / 1e6
    kinds = {"Python": platform.python_version(), **engines, **{name: version(name) for name in _PACKAGES}}
    versions = ", ".join(f"{name} {number}" for name, number in kinds.items())
    kernel = platform.release().partition("-")[0]
    return (
        f"{os.cpu_count()} cores ({model}), {memory_gb:.0f} GB, Linux {kernel}; files of broker and"
        f" database {'in memory' if in_memory else 'on disk'}; load average of the 5 minutes before"
        f" {os.getloadavg()[1]:.1f}; {versions}"
    )


def _lines(file: str) -> list[str]:
    return Path(file).read_text().splitlines()


def _verdict(reached: bool) -> str:
    return "met" if reached else "**missed**"


def _faults(faults: Iterable[str]) -> Lines:
    found = list(faults)
    return ["", "**Not as it must be:**", "", *(f"- {fault}" for fault in found)] if found else []
