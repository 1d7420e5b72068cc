"""argon2id and nothing else: the product's own hasher, kept busy.

`python -m tests.bench.peers.bare_hashes 2 5.0` hashes in two threads for five seconds and prints how many a second that
were."""

from __future__ import annotations

import asyncio
import sys
import time

import uvloop

from directory.passwords import Passwords


async def main(threads: int, seconds: float) -> None:
    passwords = Passwords(threads=threads)
    until, hashed = time.perf_counter() + seconds, 0

    async def one_after_another() -> None:
        nonlocal hashed
        while time.perf_counter() < until:
            await passwords.hash(f"seven words that do not belong together {hashed}")
            hashed += 1

    began = time.perf_counter()
    # Twice as many as threads: none of them ever waits for the loop.
    await asyncio.gather(*(one_after_another() for _ in range(2 * threads)))
    print(hashed / (time.perf_counter() - began))
    passwords.close()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), float(sys.argv[2])))
