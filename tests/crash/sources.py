"""Names for awaits that survive edits elsewhere in the file: the function they stand in and what they wait for."""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import CodeType

Span = tuple[int, int, int, int]

NOT_AN_AWAIT = "async for or with"
_COMPREHENSIONS = ("<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>")


@dataclass(slots=True)
class Source:
    """The awaits of one file: each by where it stands, and all of a function by the function's qualified name."""

    by_span: dict[Span, str] = field(default_factory=dict[Span, str])
    by_function: dict[str, list[str]] = field(default_factory=lambda: defaultdict[str, list[str]](list))


@cache
def source(path: str) -> Source:
    """The awaits of a file."""
    text = Path(path).read_text()
    found = Source()
    _Reader(text, found).visit(ast.parse(text))
    return found


class _Reader(ast.NodeVisitor):
    def __init__(self, text: str, found: Source) -> None:
        self._lines = text.encode().splitlines(keepends=True)
        self._found = found
        self._names: list[str] = []

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._names.append(node.name)
        self.generic_visit(node)
        self._names.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._names += [node.name, "<locals>"]
        self.generic_visit(node)
        del self._names[-2:]

    def visit_Await(self, node: ast.Await) -> None:
        self._note(_head(self._text_of(node)), node)
        self.generic_visit(node)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self._note(NOT_AN_AWAIT, node)
        self.generic_visit(node)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> None:
        self._note(NOT_AN_AWAIT, node)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        if node.is_async:
            self._note(NOT_AN_AWAIT, node.iter)
        self.generic_visit(node)

    def _text_of(self, node: ast.Await) -> str:
        # `ast.get_source_segment` splits the whole file anew each time.
        lines = self._lines[node.lineno - 1 : node.end_lineno]
        lines[-1] = lines[-1][: node.end_col_offset]
        lines[0] = lines[0][node.col_offset :]
        return b"".join(lines).decode()

    def _note(self, what: str, node: ast.expr | ast.stmt) -> None:
        function = ".".join(self._names[:-1])
        known = self._found.by_function[function]
        if what == NOT_AN_AWAIT:
            # What one of them waits for is told by the function; two in one function are two chances to wait there.
            if what not in known:
                known.append(what)
            return
        times = sum(one == what or one.startswith(f"{what} (") for one in known)
        label = what if not times else f"{what} ({times + 1})"
        known.append(label)
        span = (node.lineno, node.end_lineno or 0, node.col_offset, node.end_col_offset or 0)
        self._found.by_span[span] = label


def _head(text: str) -> str:
    """`await self._store.save` of `await self._store.save(change)`: arguments may change, the place stays."""
    return " ".join(text.partition("(")[0].split())


def label_of(code: CodeType, instruction: int) -> str:
    """What the await at this instruction of a function is called."""
    for number, position in enumerate(code.co_positions()):
        if number * 2 == instruction:
            line, end_line, column, end_column = position
            span = (line or 0, end_line or 0, column or 0, end_column or 0)
            return source(code.co_filename).by_span.get(span, NOT_AN_AWAIT)
    return NOT_AN_AWAIT


def is_comprehension(code: CodeType) -> bool:
    """Before Python 3.12 a comprehension is a function of its own: its awaits count as those of the function around."""
    return code.co_name in _COMPREHENSIONS
