"""Watches every task of a process from the inside, names each place at which one waits, and kills the process there.

It steps the coroutine of each task itself. Whenever one suspends, the chain of what awaits what is followed down to the
innermost function of ours, and the place is named after it and the functions of ours above it. The process can be
killed **at** an await (what it waits for has been asked for, the answer is not here) or **after** it (the answer is
here, and nothing was done with it yet).

Some places are come to only by who loses a race. Where the process is told to dawdle, half of its tasks leave many an
answer lying about for a while before they go on, so that whoever hardly ever loses does.
"""

from __future__ import annotations

import asyncio
import dis
import gc
import json
import os
import random
import signal
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Generator
from functools import cache
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, GeneratorType
from typing import Any

from tests.crash.sources import is_comprehension, label_of

OURS = frozenset(("convive_contracts", "convive_kit", "directory", "invitation"))

ROUND = (
    "convive_kit.edge",
    "convive_kit.routes",
    "convive_kit.process",
    "convive_kit.health",
    "convive_kit.http",
    "directory.api.answers",
)
"""What is around every request and every process: left out of a place's name, unless it waits there itself."""

LOOPS = frozenset(
    (
        "DueLoop.run",
        "Relay.run",
        "Runner.run",
        "WaitingRoom.run",
        "Feed.run",
        "Presence.run",
        "Feed._read",
        "DatabaseClock.run",
        "Bus.run",
        "Membership.run",
        "Postman.run",
        "Digests.run",
        "Bus.drain",
    )
)
"""Tasks that run all the time. They belong to a scenario only where it says so."""

_DAWDLE = 0.15
"""Seconds for which an answer is left lying about at most."""

_Behind = ("async_generator_asend", "async_generator_athrow", "coroutine_wrapper", "async_generator_wrapped_value")


def _waiting_frames(root: Any) -> list[FrameType]:
    """The frames of a suspended coroutine, outermost first, as far as they are ours."""
    found: list[FrameType] = []
    current: Any = root
    while current is not None:
        frame: FrameType | None = None
        if isinstance(current, CoroutineType):
            frame, current = current.cr_frame, current.cr_await
        elif isinstance(current, GeneratorType):
            frame, current = current.gi_frame, current.gi_yieldfrom
        elif isinstance(current, AsyncGeneratorType):
            frame, current = current.ag_frame, current.ag_await
        elif type(current).__name__ in _Behind:
            # These tell nobody whom they stand for, except the garbage collector.
            kinds = (CoroutineType, GeneratorType, AsyncGeneratorType)
            current = next((one for one in gc.get_referents(current) if isinstance(one, kinds)), None)
        else:
            current = None
        if frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in OURS:
            found.append(frame)
    return found


@cache
def _label(code: CodeType, instruction: int) -> str:
    return label_of(code, instruction)


def _named(frames: list[FrameType]) -> tuple[str, list[tuple[str, str, str]]]:
    """The name of a place and the awaits (file, function, label) that lead there."""
    awaits: list[tuple[str, str, str]] = []
    names: list[str] = []
    inner = [frame for frame in frames if not is_comprehension(frame.f_code)]
    for frame in inner:
        code = frame.f_code
        label = _label(code, frame.f_lasti)
        awaits.append((code.co_filename, code.co_qualname, label))
        last = frame is inner[-1]
        if last:
            names.append(f"{code.co_qualname}: {label}")
        elif frame.f_globals["__name__"] not in ROUND:
            names.append(code.co_qualname)
    return " > ".join(names), awaits


@cache
def _instructions_of_await(code: CodeType, instruction: int) -> range:
    """The instructions that run as long as an await goes on: from SEND to the jump back to it."""
    start = end = instruction
    for one in dis.get_instructions(code):
        if one.offset <= instruction and one.opname == "SEND":
            start = one.offset
        if one.offset >= instruction and one.opname.startswith("JUMP_BACKWARD"):
            end = one.offset
            break
    return range(start, end + 1)


class Watch:
    """What is seen in this process, and where it is to die."""

    def __init__(self) -> None:
        self.busy: dict[int, str] = {}
        """Tasks that are at something, and where."""
        self._loops: frozenset[str] = frozenset()
        self._recording = False
        self._places: Counter[str] = Counter()
        self._awaits: set[tuple[str, str, str]] = set()
        self._target: tuple[str, str, int] | None = None
        self._dawdling = False
        # Of this process alone: those forked beside it must not all dawdle alike.
        self.chance = random.Random()

    def factory(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Future[Any]:
        """A task factory: the loop's tasks run under watch."""
        stepped = _Stepped(coroutine, self) if isinstance(coroutine, CoroutineType) else coroutine
        return asyncio.Task(stepped, loop=loop, **options)

    def suspended(self, task: int, frames: list[FrameType], before: tuple[FrameType, int] | None) -> bool:
        """A task waits; `before` is where it waited last. True when it must not get over this await alive."""
        root = frames[0].f_code.co_qualname
        place, awaits = _named(frames)
        if (
            (root in LOOPS and root not in self._loops)
            or (root in LOOPS and len(frames) == 1 and _is_idle(place))
            or frames[0].f_globals["__name__"] == "convive_kit.process"
            or any(frame.f_globals["__name__"] == "convive_kit.health" for frame in frames)
        ):
            self.busy.pop(task, None)
            return False
        self.busy[task] = place
        inner = frames[-1]
        if before is not None and before == (inner, inner.f_lasti):
            return False  # the same await, one step further
        if self._recording:
            self._places[place] += 1
            self._awaits.update(awaits)
        if self._target is not None and self._target[0] == place:
            _, moment, times = self._target
            if times > 1:
                self._target = (place, moment, times - 1)
            elif moment == "at":
                die()
            else:
                self._target = None
                return True
        return False

    def dawdle(self, task: int) -> asyncio.Future[None] | None:
        """What a slow task waits for before it takes an answer that is here; None when it goes on at once."""
        if not self._dawdling or task not in self.busy or self.chance.random() < 0.5:
            return None
        loop = asyncio.get_running_loop()
        later: asyncio.Future[None] = loop.create_future()
        loop.call_later(self.chance.uniform(0, _DAWDLE), _arrive, later)
        return later

    def serve(self, control: socket.socket) -> None:
        """Do what the other end says, line by line; in a thread of its own."""
        with control, control.makefile("rw") as lines:
            for line in lines:
                lines.write(json.dumps(self._do(json.loads(line))) + "\n")
                lines.flush()

    def _do(self, order: dict[str, Any]) -> dict[str, Any]:
        match order["do"]:
            case "record":
                self._places, self._awaits = Counter(), set()
                self._loops, self._recording = frozenset(order["loops"]), True
                self._dawdling = order["dawdle"]
            case "stop":
                self._recording, self._loops, self._dawdling = False, frozenset(), False
                return {"places": dict(self._places), "awaits": sorted(self._awaits)}
            case "kill":
                self._loops = frozenset(order["loops"])
                self._target = (order["place"], order["moment"], order["times"])
                self._dawdling = order["dawdle"]
            case "spare":
                self._target, self._loops, self._dawdling = None, frozenset(), False
            case _:
                return {"busy": sorted(self.busy.values())}
        return {}


def _arrive(later: asyncio.Future[None]) -> None:
    if not later.done():
        later.set_result(None)


def _is_idle(place: str) -> bool:
    """Whether one of those tasks waits for something to do."""
    return place.endswith((".wait", "await asyncio.sleep"))


def die() -> None:
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


class _Stepped(Coroutine[Any, Any, Any]):
    """A coroutine whose steps are seen."""

    def __init__(self, coroutine: CoroutineType[Any, Any, Any], watch: Watch) -> None:
        self._coroutine = coroutine
        self._watch = watch
        self._before: tuple[FrameType, int] | None = None
        self._doomed: FrameType | None = None
        self._slow = watch.chance.random() < 0.5
        self._dawdled = False

    def send(self, value: Any) -> Any:
        if self._slow and not self._dawdled and (later := self._watch.dawdle(id(self))) is not None:
            self._dawdled = True
            return next(later.__await__())
        self._dawdled = False
        return self._step(lambda: self._coroutine.send(value))

    def throw(self, *error: Any) -> Any:
        self._dawdled = False
        return self._step(lambda: self._coroutine.throw(*error))

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coroutine.__await__()

    def _step(self, step: Callable[[], Any]) -> Any:
        if self._doomed is not None:
            sys.settrace(self._trace)
        try:
            waits_for = step()
        except BaseException:
            self._watch.busy.pop(id(self), None)
            raise
        finally:
            if self._doomed is not None:
                sys.settrace(None)
        frames = _waiting_frames(self._coroutine)
        inner = [frame for frame in frames if not is_comprehension(frame.f_code)]
        if not inner:
            self._before = None
            self._watch.busy.pop(id(self), None)
            return waits_for
        if self._watch.suspended(id(self), inner, self._before):
            self._doomed = inner[-1]
        self._before = (inner[-1], inner[-1].f_lasti)
        return waits_for

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        """Called for each function that is entered or goes on; looks closer at the doomed one."""
        if frame is not self._doomed:
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        awaiting = _instructions_of_await(frame.f_code, frame.f_lasti)

        def instruction(frame: FrameType, event: str, argument: Any) -> Any:
            if event == "exception" or (event == "opcode" and frame.f_lasti not in awaiting):
                die()
            return instruction

        return instruction


def begin(control: socket.socket) -> Watch:
    """Start the thread that takes orders."""
    watch = Watch()
    threading.Thread(target=watch.serve, args=[control], daemon=True, name="orders").start()
    return watch
