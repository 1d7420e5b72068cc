"""Options that several commands share; the filters have the names of the API's fields."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")]
Reason = Annotated[str | None, typer.Option(help="Why, for the audit.", show_default=False)]
NeededReason = Annotated[str, typer.Option(help="Why, for the audit.", show_default=False)]
Rate = Annotated[float | None, typer.Option(help="At most so many per second.", show_default=False)]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Begin it and return.")]
Limit = Annotated[int, typer.Option(min=1, help="At most so many.")]
All = Annotated[bool, typer.Option("--all", help="All there are, however many.")]
Channel = Annotated[str | None, typer.Option(help="email or sms; as before if not given.", show_default=False)]
Through = Annotated[str | None, typer.Option(help="email or sms; as before if not given.", show_default=False)]
Id = Annotated[str, typer.Argument(help="Its id.", show_default=False)]
DEFAULT_LIMIT = 50


@dataclass(frozen=True, slots=True)
class Criterion:
    """A field of a filter; `many` may be repeated, which means OR."""

    help: str
    many: bool = True


INVITATIONS = {
    "state": Criterion("Its state, such as failed."),
    "channel": Criterion("email, sms or none."),
    "cabinet_id": Criterion("Of this firm."),
    "dossier_id": Criterion("Of this client file."),
    "member_id": Criterion("Of this member."),
    "email": Criterion("The whole address."),
    "q": Criterion("How a name or an address begins.", many=False),
    "error": Criterion("The exact reason."),
    "created_after": Criterion("RFC 3339 time.", many=False),
    "created_before": Criterion("RFC 3339 time.", many=False),
    "stuck_for": Criterion("No step for so long, such as PT1H, in a state that is not final.", many=False),
}
RECORDED = {
    "id": Criterion("Of a parked message."),
    "fingerprint": Criterion("A group of parked messages."),
    "queue": Criterion("Where a parked message came from."),
    "type": Criterion("Of events, such as user.created."),
    "source": Criterion("Who published them."),
    "cabinet_id": Criterion("Events about this firm."),
    "dossier_id": Criterion("Events about this client file."),
    "member_id": Criterion("Events about this member."),
    "after": Criterion("RFC 3339 time: not older.", many=False),
    "before": Criterion("RFC 3339 time: older.", many=False),
}
AUDITED = {
    "actor": Criterion("Who did it, such as ops:anne."),
    "action": Criterion("Such as invitation.resend."),
    "target": Criterion("What it was done to, such as invitation:<id>."),
    "after": Criterion("RFC 3339 time: not older.", many=False),
    "before": Criterion("RFC 3339 time: older.", many=False),
}


def taking(criteria: Mapping[str, Criterion]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command an option for each criterion; its parameter `criteria` gets those that were given."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        own = [p.replace(kind=p.KEYWORD_ONLY) for name, p in signature.parameters.items() if name != "criteria"]

        @wraps(command)
        def run(**given: Any) -> None:
            chosen = {name: value for name in criteria if (value := given.pop(name))}
            command(**given, criteria=chosen)

        options = [_option(name, criterion) for name, criterion in criteria.items()]
        wrapped: Any = run
        # typer reads options off the signature.
        wrapped.__signature__ = signature.replace(parameters=[*own, *options])
        wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *options)}
        del wrapped.__wrapped__
        return run

    return decorate


def _option(name: str, criterion: Criterion) -> inspect.Parameter:
    kind: Any = list[str] | None if criterion.many else str | None
    spelled = f"--{name.replace('_', '-')}"
    option = typer.Option(spelled, help=f"Filter: {criterion.help}", show_default=False, metavar="TEXT")
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option])
