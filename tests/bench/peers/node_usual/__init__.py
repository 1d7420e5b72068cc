"""A peer in Node. Its packages, and a copy of its program beside them, lie in `.local/`, not in the source tree."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.local.programs import REPOSITORY

SOURCE = Path(__file__).parent
INSTALLED = REPOSITORY / ".local" / "node_usual"
PROGRAM = INSTALLED / "index.js"
_OLDEST = (20, 19)
"""What mongodb asks for."""


def left_out() -> str | None:
    """Why this peer cannot take part; None when it can. Installs what `package-lock.json` names when that has changed;
    the packages come from whichever registry npm is set up for."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return f"{'Node' if node is None else 'npm'} is missing"
    told = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=60, check=False).stdout.strip()
    numbers = re.findall(r"\d+", told)[:2]
    if tuple(int(number) for number in numbers) < _OLDEST:
        return f"Node {_OLDEST[0]}.{_OLDEST[1]} or newer is needed, this is {told or 'none that runs'}"
    INSTALLED.mkdir(parents=True, exist_ok=True)
    for name in ("index.js", "package.json", "package-lock.json"):
        shutil.copyfile(SOURCE / name, INSTALLED / name)
    made_from, lock = INSTALLED / ".made-from", hashlib.sha256((SOURCE / "package-lock.json").read_bytes()).hexdigest()
    if made_from.exists() and made_from.read_text() == lock:
        return None
    print("Installing the packages of the peer in Node (once) …", file=sys.stderr, flush=True)
    made_from.unlink(missing_ok=True)
    try:
        run = subprocess.run(
            [npm, "ci", "--omit=dev", "--no-audit", "--no-fund", "--ignore-scripts"],
            cwd=INSTALLED,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "npm ci did not end within 300 seconds"
    if run.returncode != 0:
        return f"npm ci failed: {(run.stderr or run.stdout).strip()[-400:]}"
    made_from.write_text(lock)
    return None
