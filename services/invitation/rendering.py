"""What the rooms with pages share: templates that speak every language, read once each, when they are first needed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import Any, cast

from jinja2 import BytecodeCache, Environment, FileSystemLoader, StrictUndefined
from jinja2.bccache import Bucket
from markupsafe import Markup, escape

from convive_kit.static import StaticFile
from invitation import wording
from invitation.i18n import Locale, translations


class _Compiled(BytecodeCache):
    """What the templates compile to, the same for every language: compiling takes its time."""

    def __init__(self) -> None:
        self._codes: dict[str, CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._codes.get(bucket.key + bucket.checksum)

    def dump_bytecode(self, bucket: Bucket) -> None:
        if bucket.code is not None:
            self._codes[bucket.key + bucket.checksum] = bucket.code


_COMPILED = _Compiled()


def environment_of(
    folder: Path,
    locale: Locale,
    static: Mapping[str, StaticFile],
    words: Mapping[str, object],
    filters: Mapping[str, object],
) -> Environment:
    """The templates of a folder in one language. They know `_`, `ngettext`, `static` and the filter `name`, and what
    is given beside."""
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        bytecode_cache=_COMPILED,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    catalogue = translations(locale)

    @lru_cache(maxsize=1024)
    def said(message: str) -> Markup:
        return Markup.escape(catalogue.gettext(message))

    def say(message: str, **names: object) -> Markup:
        sentence = said(message)
        if not names:
            return sentence
        # As `sentence % names` does, which takes three times as long.
        escaped = {key: escape(value) for key, value in names.items()}
        return Markup(str.__mod__(sentence, escaped))  # noqa: S704 (it is escaped)

    def count(one: str, many: str, number: int) -> Markup:
        return Markup.escape(catalogue.ngettext(one, many, number)) % {"num": number}

    untyped = cast("Any", environment)  # jinja2 leaves the types of its two tables open
    untyped.globals.update(words, _=say, ngettext=count, static={name: file.path for name, file in static.items()})
    untyped.filters.update(filters, name=name)
    return environment


def name(text: str) -> Markup:
    """A name whose direction cannot disturb the sentence around it."""
    # `Markup.format` would do, and takes five times as long.
    return Markup(f"<bdi>{escape(wording.plain(text))}</bdi>")  # noqa: S704 (it is escaped)
