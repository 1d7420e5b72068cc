"""What replays and bulk operations have in common: a preview, a question, progress, an end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from invitation.cli.client import Api
from invitation.cli.failures import Failed
from invitation.cli.output import Output, counts, insist_on_consent
from invitation.cli.session import Session

_LOOK_EVERY = 0.3
_OVER = ("done", "aborted", "failed")
COLUMNS = {
    "id": "id",
    "status": "status",
    "matched": "matched",
    "done": "done",
    "skipped": "skipped",
    "failed": "failed",
    "by": "actor",
    "begun": "created_at",
    "reason": "reason",
}


def carry_out(
    here: Session,
    path: str,
    body: Mapping[str, Any],
    verb: str,
    *,
    dry_run: bool,
    yes: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Preview it, ask, begin it, wait for its end. `verb` is what happens to each, for the question."""
    if not dry_run:
        insist_on_consent(yes=yes)
    api = here.ops
    if dry_run or not yes:
        preview = until_over(here.output, api, path, begin(api, path, {**body, "dry_run": True}), "looking")
        if dry_run:
            show_run(here.output, preview, as_json=as_json)
            return
        number = would_be_done(preview)
        skipped = f", skip {counts(preview['skipped'])}" if preview["skipped"] else ""
        here.output.note(f"{preview['matched']} fit: {verb} {number}{skipped}.")
        if not number:
            raise Failed("There is nothing to do.")
        here.output.confirm(f"{verb.capitalize()} {number}?", yes=yes)
    run = begin(api, path, body)
    if wait:
        run = until_over(here.output, api, path, run, verb)
    show_run(here.output, run, as_json=as_json)
    if run["status"] in ("aborted", "failed") or run["failed"]:
        raise Failed(f"It was not all done: {run['status']}, {run['failed']} failed.")


def would_be_done(preview: Mapping[str, Any]) -> int:
    """How many a preview says are to be done. What a replay will do with a message, only handling it can tell."""
    return preview["done"] if "action" in preview else preview["matched"]


def begin(api: Api, path: str, body: Mapping[str, Any]) -> Any:
    """Begin a run and return it as it stands."""
    given = {name: value for name, value in body.items() if value is not None}
    return api.get(f"{path}/{api.send('POST', path, given)['id']}")


def until_over(output: Output, api: Api, path: str, run: Any, what: str) -> Any:
    """The run at its end, with a bar on stderr meanwhile. Interrupting ends the waiting, not the run."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}"),
        TimeRemainingColumn(),
        console=output.err,
        transient=True,
        disable=not output.err.is_terminal,
    )
    try:
        with bar:
            task = bar.add_task(what, total=run["matched"] or None, status=run["status"])
            while run["status"] not in _OVER:
                time.sleep(_LOOK_EVERY)
                run = api.get(f"{path}/{run['id']}")
                over = run["done"] + run["failed"] + sum(run["skipped"].values())
                bar.update(task, completed=over, total=run["matched"] or None, status=run["status"])
    except KeyboardInterrupt:
        noun = "replay" if path.endswith("replays") else "bulk"
        output.note(f"It goes on without you. Stop it with: convive {noun} abort {run['id']}")
        raise
    return run


def show_run(output: Output, run: dict[str, Any], *, as_json: bool) -> None:
    """One run with its counts and, of a preview, its sample."""
    if as_json:
        output.json(run)
        return
    output.fields(
        {
            "id": run["id"],
            "action": run.get("action") or run.get("mode"),
            "dry run": "yes" if run["dry_run"] else None,
            "status": run["status"],
            "matched": str(run["matched"]),
            "done": str(run["done"]),
            "skipped": counts(run["skipped"]),
            "failed": str(run["failed"]),
            "error": run["error"],
            "filter": counts({name: _plain(value) for name, value in run["filter"].items()}),
            "by": run["actor"],
            "reason": run["reason"],
            "begun": run["created_at"],
            "ended": run["finished_at"],
        }
    )
    sample: list[dict[str, Any]] = run["sample"]
    if sample:
        heads = list(dict.fromkeys(name for line in sample for name in line))
        output.table(heads, ([line.get(head) for head in heads] for line in sample))


def _plain(value: Any) -> str:
    return " or ".join(map(str, cast("list[Any]", value))) if isinstance(value, list) else str(value)
