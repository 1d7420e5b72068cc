"""The files that pages load, read once, at start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from aiohttp import web

# Not from `mimetypes`, which asks the machine.
_CONTENT_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

# In front of each stylesheet rather than a file of its own: one request less before a page shows.
_TOKENS = Path(__file__).with_name("tokens.css").read_bytes()


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file of the pages. `path` names its content, so it may be cached for ever."""

    path: str
    content_type: str
    body: bytes

    def response(self) -> web.Response:
        """The file, to be kept by whoever asked."""
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}
        return web.Response(body=self.body, content_type=self.content_type, charset="utf-8", headers=headers)


def static_files(folder: Path, path: str, *, also: Sequence[str] = ()) -> dict[str, StaticFile]:
    """The files of a folder by their names, stylesheets with the design tokens, and `also` those of the kit; `path` is
    where they are served."""
    files = [*sorted(folder.iterdir()), *(Path(__file__).with_name(name) for name in also)]
    return {file.name: _static(file, path) for file in files}


def _static(file: Path, path: str) -> StaticFile:
    body = file.read_bytes()
    if file.suffix == ".css":
        body = _TOKENS + body
    return StaticFile(f"{path}/{file.name}?v={sha256(body).hexdigest()[:12]}", _CONTENT_TYPES[file.suffix], body)
