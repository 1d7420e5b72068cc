"""Free ports on the loopback interface, kept between starts where possible."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import cast

LOOPBACK = "127.0.0.1"
# Below the range from which the kernel serves outgoing connections: a port found free here is not taken by
# somebody's outgoing connection a moment later.
PORTS = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        # As servers do: a port whose old connections linger (TIME_WAIT) is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(besides: Iterable[int] = ()) -> int:
    """A port nobody listens on, none of `besides`."""
    taken = set(besides)
    for port in random.SystemRandom().sample(PORTS, k=500):
        if port not in taken and is_free(port):
            return port
    raise OSError("no free port found on the loopback interface")


def kept_ports(file: Path, names: Iterable[str]) -> dict[str, int]:
    """The ports of the last start, as far as they are still free, others for the rest; remembered in `file`."""
    try:
        before = cast("dict[str, int]", json.loads(file.read_text()))
    except (FileNotFoundError, ValueError):
        before = {}
    ports: dict[str, int] = {}
    for name in names:
        port = before.get(name)
        if port is None or port in ports.values() or not is_free(port):
            port = free_port(ports.values())
        ports[name] = port
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(ports))
    return ports
