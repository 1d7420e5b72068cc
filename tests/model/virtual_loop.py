"""An event loop whose time is made up and whose processes can be killed, stopped and continued between any two steps.

One loop runs everything: the world (broker, database, mail server, people) and any number of processes. Whatever a
process starts belongs to it, because tasks and callbacks inherit its context. A dead process never takes another step:
its coroutines stay where they were, no `finally` runs, as after SIGKILL. A stopped one takes none until it goes on,
and what its timers would have done happens then, as after SIGSTOP and SIGCONT.

Steps of one process keep their order; which process takes the next step is drawn from a seed. When nobody has anything
to do, time jumps to the next timer, so that an hour costs no more than what happens in it.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import random
import sys
import threading
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from contextlib import suppress
from typing import Any, TypeVar, cast

Result = TypeVar("Result")


class Owner:
    """Whom steps belong to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.stopped = False
        self.context = contextvars.copy_context()
        self.context.run(OWNER.set, self)
        self.steps = 0
        self.dies_after: int | None = None


OWNER: contextvars.ContextVar[Owner | None] = contextvars.ContextVar("owner", default=None)


class VirtualLoop(asyncio.AbstractEventLoop):
    def __init__(self, order: random.Random) -> None:
        self._order = order
        self._time = 0.0
        self._ready: dict[Owner | None, deque[asyncio.Handle]] = {}
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = 0
        self._tasks: list[asyncio.Task[Any]] = []
        self._closed = False
        self._running = False
        self.failures: list[dict[str, Any]] = []
        self.died: Callable[[Owner], None] = lambda _owner: None
        # Work of real threads (a database driver's), which time must not overtake.
        self._outside = threading.Condition()
        self._arrived: deque[asyncio.Handle] = deque()
        self._out = 0
        self._threaded = False

    # --- what asyncio asks of a loop -------------------------------------------------------------------------------

    def time(self) -> float:
        return self._time

    def call_soon(self, callback: Any, *args: Any, context: contextvars.Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._enqueue(handle)
        return handle

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        with self._outside:
            self._threaded = True
            self._arrived.append(handle)
            self._outside.notify_all()
        return handle

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        return self.call_at(self._time + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._numbers += 1
        heapq.heappush(self._timers, (when, self._numbers, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None: ...

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: contextvars.Context | None = None
    ) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks.append(task)
        if len(self._tasks) > 2000:
            self._tasks = [task for task in self._tasks if not task.done()]
        return task

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        with self._outside:
            self._threaded = True
            self._out += 1
        work: Future[Any] = cast("Executor", executor).submit(func, *args)

        def back(_: Future[Any]) -> None:
            with self._outside:
                self._out -= 1
                self._outside.notify_all()

        answer = asyncio.wrap_future(work, loop=self)
        work.add_done_callback(back)
        return answer

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._closed

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.failures.append(context)

    # --- stepping --------------------------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, Result], owner: Owner | None) -> asyncio.Task[Result]:
        """Start a task that belongs to `owner` (None: the world)."""
        context = owner.context.copy() if owner else contextvars.Context()
        return self.create_task(work, context=context)

    def step(self, until: float) -> bool:
        """Take one step of somebody's; False when nothing is to be done before `until`."""
        while True:
            if self._threaded:
                self._let_in()
            able = [o for o, queue in self._ready.items() if queue and (o is None or not (o.dead or o.stopped))]
            if able:
                owner = able[0] if len(able) == 1 else self._order.choice(able)
                self._take(owner, self._ready[owner].popleft())
                return True
            if self._threaded and self._wait_outside():
                continue
            while self._timers and (self._timers[0][2].cancelled() or _is_dead(self._timers[0][2])):
                heapq.heappop(self._timers)
            if not self._timers or self._timers[0][0] > until:
                return False
            when, _, handle = heapq.heappop(self._timers)
            self._time = max(self._time, when)
            self._enqueue(handle)

    def run_for(self, seconds: float) -> None:
        """Let that much time pass."""
        end = self._time + seconds
        with self:
            while self.step(end):
                pass
        self._time = end

    def run_steps(self, steps: int) -> None:
        """Take so many steps, as long as there are any within the next second."""
        end = self._time + 1
        with self:
            for _ in range(steps):
                if not self.step(end):
                    break

    def run(self, work: Coroutine[Any, Any, Result], *, within: float = 3600) -> Result:
        """Run the world's `work` to its end."""
        task = self.spawn(work, None)
        end = self._time + within
        with self:
            while not task.done():
                if not self.step(end):
                    raise TimeoutError(f"not done within {within} s: {work}")
        return task.result()

    def __enter__(self) -> None:
        events._set_running_loop(self)
        self._running = True
        # A generator that a dead process leaves behind is not brought to its end either.
        self._hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=lambda _: None, finalizer=lambda _: None)

    def __exit__(self, *_: object) -> None:
        sys.set_asyncgen_hooks(*self._hooks)
        self._running = False
        events._set_running_loop(None)

    def close(self) -> None:
        """Throw away whatever has not come to its end, without letting it go on."""
        with self._outside:
            self._outside.wait_for(lambda: self._out == 0, timeout=30)
        self._closed = True
        self._ready.clear()
        self._timers.clear()
        for task in self._tasks:
            if not task.done():
                cast("Any", task)._log_destroy_pending = False
                with suppress(BaseException):
                    cast("Any", task.get_coro()).close()
        self._tasks.clear()

    def _take(self, owner: Owner | None, handle: asyncio.Handle) -> None:
        if handle.cancelled():
            return
        handle._run()
        if owner is not None:
            owner.steps += 1
            if owner.dies_after is not None and not owner.dead:
                owner.dies_after -= 1
                if owner.dies_after <= 0:
                    self.died(owner)

    def _enqueue(self, handle: asyncio.Handle) -> None:
        owner = cast("Any", handle)._context.get(OWNER)
        if not self._closed and not (owner and owner.dead):
            self._ready.setdefault(owner, deque()).append(handle)

    def forget(self, owner: Owner) -> None:
        """Drop what a dead process would have done."""
        self._ready.pop(owner, None)

    def _let_in(self) -> None:
        with self._outside:
            while self._arrived:
                self._enqueue(self._arrived.popleft())

    def _wait_outside(self) -> bool:
        with self._outside:
            if not self._out and not self._arrived:
                return False
            self._outside.wait_for(lambda: self._arrived or not self._out, timeout=30)
            return True


def _is_dead(handle: asyncio.Handle) -> bool:
    owner = cast("Any", handle)._context.get(OWNER)
    return owner is not None and owner.dead
