"""What is handed out: the contracts for other teams, alone and small."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from deploy.local.programs import REPOSITORY


def test_the_contracts_are_a_package_of_their_own_that_needs_pydantic_alone(tmp_path: Path) -> None:
    build = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir"]
    subprocess.run([sys.executable, *build, str(tmp_path), str(REPOSITORY / "shared")], check=True, timeout=120)
    [wheel] = tmp_path.glob("convive_contracts-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [metadata] = [archive.read(name).decode() for name in names if name.endswith("METADATA")]
    assert {name.split("/")[0].split("-")[0] for name in names} == {"convive_contracts"}
    assert "convive_contracts/py.typed" in names
    needs = [line.partition(": ")[2] for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    assert needs == ["pydantic>=2.10", "aio-pika>=10.2.1; extra == 'publisher'"]

    # Importable where nothing but pydantic is installed.
    absent = ("aio_pika", "aiormq", "convive_kit", "aiohttp", "pymongo", "structlog")
    blocked = "".join(f"sys.modules[{name!r}] = None; " for name in absent)
    script = (
        f"import sys; {blocked}sys.path.insert(0, {str(wheel)!r}); import convive_contracts as c; print(c.__file__)"
    )
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    assert str(wheel) in run.stdout
