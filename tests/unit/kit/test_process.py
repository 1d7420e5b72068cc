from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from convive_kit.process import Process

SHARED = Path(__file__).parents[3] / "shared"


class Program:
    """A program on `process.run`, told when it is ready by a line on its standard output."""

    def __init__(self, body: str, grace: float = 5) -> None:
        code = "import asyncio, datetime\nfrom convive_kit.process import run\nasync def main(process):\n"
        code += textwrap.indent(textwrap.dedent(body), "    ")
        code += f"\nrun(main, grace=datetime.timedelta(seconds={grace}))"
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-c", code],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(SHARED)},
        )

    def wait_for(self, text: str) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            if text in line:
                return
        raise AssertionError(f"{text} was never written")

    def end(self, *numbers: signal.Signals) -> tuple[int, str]:
        for number in numbers:
            self.process.send_signal(number)
        written, _ = self.process.communicate(timeout=20)
        return self.process.returncode, written


STOPS = """
async def stop(name):
    print("stopped", name)
process.on_stop("first", lambda: stop("first"))
process.on_stop("second", lambda: stop("second"))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_parts_in_reverse_order_and_ends_with_zero(number: signal.Signals) -> None:
    program = Program(STOPS)
    program.wait_for("process.started")
    code, written = program.end(number)
    assert code == 0
    assert [line for line in written.splitlines() if line.startswith("stopped")] == ["stopped second", "stopped first"]


def test_a_signal_during_the_start_gives_the_start_up_and_stops_what_runs() -> None:
    program = Program(STOPS + "\nprint('waiting')\nawait asyncio.sleep(60)")
    program.wait_for("waiting")
    code, written = program.end(signal.SIGTERM)
    assert (code, "stopped first" in written) == (0, True)


def test_a_failed_start_stops_what_runs_and_ends_with_one() -> None:
    code, written = Program(STOPS + "\nraise OSError('no port')").end()
    assert code == 1
    assert "process.start_failed" in written
    assert "stopped first" in written


@pytest.mark.parametrize("end", ["raise LookupError('gone')", "return"])
def test_a_task_that_dies_is_logged_and_ends_the_process(end: str) -> None:
    work = f"\nasync def work():\n    await asyncio.sleep(0)\n    {end}\nprocess.spawn('due loop', work())"
    code, written = Program(STOPS + work).end()
    assert code == 1
    assert "process.task_died" in written
    assert "due loop" in written
    assert "stopped first" in written


def test_a_drain_that_takes_too_long_is_cut_off_with_one() -> None:
    program = Program("process.on_stop('slow', lambda: asyncio.sleep(60))", grace=0.2)
    program.wait_for("process.started")
    code, written = program.end(signal.SIGTERM)
    assert (code, "process.drain_timed_out" in written) == (1, True)


def test_a_part_that_cannot_be_cancelled_does_not_keep_the_process() -> None:
    work = "async def deaf():\n    while True:\n        try:\n            await asyncio.sleep(60)\n"
    work += "        except asyncio.CancelledError:\n            pass\nprocess.spawn('deaf', deaf())"
    program = Program(work, grace=0.2)
    program.wait_for("process.started")
    code, written = program.end(signal.SIGTERM)
    assert code == 1
    assert "part=deaf" in written


def test_a_second_signal_ends_at_once() -> None:
    program = Program("process.on_stop('slow', lambda: asyncio.sleep(60))", grace=60)
    program.wait_for("process.started")
    program.process.send_signal(signal.SIGTERM)
    program.wait_for("process.stopping")
    started = time.monotonic()
    code, _ = program.end(signal.SIGTERM)
    assert code == 128 + signal.SIGTERM
    assert time.monotonic() - started < 5


async def test_a_part_that_fails_to_stop_does_not_keep_the_others_running() -> None:
    process = Process()
    stopped = asyncio.Event()

    async def stop() -> None:
        stopped.set()

    async def fail() -> None:
        raise OSError

    process.on_stop("first", stop)
    process.on_stop("second", fail)
    await process.stop()
    assert stopped.is_set()
    assert process.crashed


async def test_the_request_under_way_is_answered_while_the_server_stops() -> None:
    process = Process()
    arrived = asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        arrived.set()
        await asyncio.sleep(0.2)
        return web.Response(text="done")

    app = web.Application()
    app.router.add_get("/", slow)
    port = await process.serve(app, "127.0.0.1", 0)
    async with ClientSession() as session:
        asked = asyncio.create_task(session.get(f"http://127.0.0.1:{port}/"))
        await arrived.wait()
        await process.stop()
        assert await (await asked).text() == "done"
    assert not process.crashed


async def test_a_spawned_task_is_cancelled_on_stop_and_that_is_no_crash() -> None:
    process = Process()
    task = process.spawn("forever", asyncio.sleep(60))
    process.stopping.set()
    await process.stop()
    assert task.cancelled()
    assert not process.crashed
