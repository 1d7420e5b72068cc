"""Which services are operated, and with which tokens: from the environment, or the file of a local stack."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import typer

from invitation.cli.client import Api
from invitation.cli.failures import ExitCode, Failed
from invitation.cli.output import Output

INVITATION_URL, DIRECTORY_URL = "CONVIVE_INVITATION_URL", "CONVIVE_DIRECTORY_URL"
OPS_TOKEN, ADMIN_TOKEN = "CONVIVE_OPS_TOKEN", "CONVIVE_ADMIN_TOKEN"


@dataclass(frozen=True, slots=True)
class Given:
    """What the options before the command say."""

    stack: Path | None = None
    token_file: str | None = None
    invitation_url: str | None = None
    directory_url: str | None = None
    time_limit: float = 30.0


class Session:
    """What a command works with. Nothing is read or connected before it is needed."""

    def __init__(self, given: Given, output: Output, runner: asyncio.Runner) -> None:
        self.output = output
        self._given = given
        self._runner = runner
        self._stack: dict[str, Any] | None = None
        self._token: str | None = None
        self._open: list[Api] = []

    @property
    def ops(self) -> Api:
        """The invitation service, as an operator."""
        return self.service("invitation", token=True)

    @property
    def admin(self) -> Api:
        """The directory, as the one who makes cabinets."""
        return self.service("directory", token=True)

    def service(self, name: str, *, token: bool) -> Api:
        """`invitation` or `directory`; without `token`, for what anybody may ask."""
        url_variable, token_variable = self.variables(name)
        url = getattr(self._given, f"{name}_url") or self._setting(url_variable)
        if not url:
            raise Failed(f"Where is the {name} service? Set {url_variable}, or give --stack.", ExitCode.USAGE)
        if not url.startswith(("http://", "https://")):
            raise Failed(f"{url} is no address of a service: it begins with http:// or https://.", ExitCode.USAGE)
        secret = self.token(name) if token else None
        if token and not secret:
            raise Failed(f"There is no token: set {token_variable}, or give --token-file or --stack.", ExitCode.USAGE)
        api = Api(
            url,
            secret,
            who=f"the {name} service",
            token_from="--token-file" if self._given.token_file else token_variable,
            runner=self._runner,
            time_limit=self._given.time_limit,
            note=self.output.note,
        )
        self._open.append(api)
        return api

    @staticmethod
    def variables(name: str) -> tuple[str, str]:
        """Where the address and the token of a service are set."""
        return (INVITATION_URL, OPS_TOKEN) if name == "invitation" else (DIRECTORY_URL, ADMIN_TOKEN)

    def token(self, name: str) -> str | None:
        """The token for a service, or None. A token file is that of the call's own service."""
        if self._given.token_file is None:
            return self._setting(self.variables(name)[1])
        if self._token is not None:
            return self._token
        try:
            path = Path(self._given.token_file)
            text = sys.stdin.readline() if str(path) == "-" else path.read_text()
        except OSError as error:
            raise Failed(f"--token-file cannot be read: {error.strerror}.", ExitCode.USAGE) from None
        if not text.strip() or len(text.split()) > 1 or not text.isascii():
            raise Failed("--token-file holds no token: one line with nothing else is expected.", ExitCode.USAGE)
        self._token = text.strip()
        return self._token

    def close(self) -> None:
        """Let go of connections."""
        for api in self._open:
            self._runner.run(api.close())

    def _setting(self, variable: str) -> str | None:
        if self._given.stack is None:
            return os.environ.get(variable) or None
        if self._stack is None:
            self._stack = _read_stack(self._given.stack)
        return self._stack.get(variable.removeprefix("CONVIVE_").lower())


def _read_stack(path: Path) -> dict[str, Any]:
    try:
        stack = json.loads(path.read_text())
    except OSError as error:
        raise Failed(f"--stack {path} cannot be read: {error.strerror}. Does it run?", ExitCode.USAGE) from None
    except ValueError:
        stack = None
    if not isinstance(stack, dict):
        raise Failed(f"--stack {path} is no stack.json.", ExitCode.USAGE)
    return cast("dict[str, Any]", stack)


def session(context: typer.Context) -> Session:
    """The session of the command that runs."""
    return cast("Session", context.find_root().obj)
