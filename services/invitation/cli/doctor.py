"""`convive doctor`: is everything as it should be, and if not, what to do."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlsplit

import typer

from invitation.cli.client import Api
from invitation.cli.failures import ExitCode, Failed
from invitation.cli.options import Json
from invitation.cli.session import Session, session

Check = dict[str, Any]


def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Check this program's settings, reach both services, and ask them for what they need. Ends with 0 when everything
    works, even where something should not stay as it is.

    \b
    Example: convive doctor
    """
    here = session(context)
    checks: list[Check] = []
    for name in ("directory", "invitation"):
        checks += _reached(here, name)
    if checks[-1]["ok"]:
        checks += _asked(here)
    if as_json:
        here.output.json({"ok": all(check["ok"] for check in checks), "checks": checks})
    else:
        for check in checks:
            here.output.judged(verdict(check), f"{check['name']}: {check['detail']}")
            if check["what_to_do"]:
                here.output.text(f"        {check['what_to_do']}")
    failing = [check["name"] for check in checks if not check["ok"]]
    if failing:
        raise Failed(f"Not as it should be: {', '.join(failing)}.")


def verdict(check: Check) -> str:
    """`ok`, `advice` or `failed`."""
    if not check["ok"]:
        return "failed"
    return "advice" if check["what_to_do"] else "ok"


def address_check(name: str, variable: str, api: Api) -> Check:
    """Whether a token may go to an address as it is."""
    parts = urlsplit(api.url)
    if parts.scheme == "https" or parts.hostname in ("localhost", "127.0.0.1", "::1"):
        return _check(f"{name} address", api.url)
    return _check(f"{name} address", f"{api.url}: the token travels unprotected.", f"Give {variable} with https.")


def _reached(here: Session, name: str) -> list[Check]:
    url_variable, token_variable = here.variables(name)
    try:
        api = here.service(name, token=False)
    except Failed as failed:
        return [_check(f"{name} address", str(failed), f"Set {url_variable}.", ok=False)]
    checks = [address_check(name, url_variable, api)]
    if here.token(name) is None:
        what = "without it no firm can be made" if name == "directory" else "without it nothing can be done"
        checks.append(_check(f"{name} token", f"There is none: {what}.", f"Set {token_variable}.",
                             ok=name == "directory"))  # fmt: skip
    try:
        status, ready = api.answers("/readyz")
    except Failed as failed:
        return [*checks, _check(f"{name} service", str(failed), "Start it, or correct the address.", ok=False)]
    parts: dict[str, Any] | None = cast("dict[str, Any]", ready).get("checks") if isinstance(ready, dict) else None
    if parts is None:
        return [*checks, _check(f"{name} service", f"{api.url} answers {status}, but not as Convive.",
                                f"Correct {url_variable}.", ok=False)]  # fmt: skip
    wrong = [f"{part}: {result['error']}" for part, result in parts.items() if not result["ok"]]
    if wrong:
        return [*checks, _check(f"{name} service", f"It is not ready: {', '.join(wrong)}.",
                                "See to what it names.", ok=False)]  # fmt: skip
    return [*checks, _check(f"{name} service", "It is ready.")]


def _asked(here: Session) -> list[Check]:
    try:
        found: list[Check] = here.ops.get("/v1/checks")["checks"]
    except Failed as failed:
        if failed.code == ExitCode.USAGE:
            return []  # there is no token, and that was said
        what = "Give an ops token." if failed.code == ExitCode.NOT_ALLOWED else "See to the service first."
        return [_check("invitation token", str(failed), what, ok=False)]
    return [_check("invitation token", "It is accepted."), *found]


def _check(name: str, detail: str, what_to_do: str | None = None, *, ok: bool = True) -> Check:
    return {"name": name, "ok": ok, "detail": detail, "what_to_do": what_to_do}
