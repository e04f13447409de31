"""A pinned virtual environment for each peer, made once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.machine import progress
from bench.stack import ROOT

HERE = Path(__file__).resolve().parent
PLACE = Path(os.environ.get("BURSA_PEERS", ROOT / "target/peers"))
"""Where the environments are."""
PYTHONS = {"funcx": ["3.8", "3.7"]}
"""Peer -> the Python versions that it runs on, if not on ours."""


class Missing(Exception):
    """A peer cannot be had here; says why."""


def python_of(name: str) -> str:
    """The interpreter of a peer, with its packages installed; ours for a peer without requirements."""
    requirements = HERE / name / "requirements.txt"
    if not requirements.exists():
        return sys.executable
    environment = PLACE / name
    python = environment / "bin/python"
    stamp = environment / "installed.txt"
    if stamp.exists() and stamp.read_text() == requirements.read_text():
        return str(python)
    progress(f"{name}: installing into {environment}")
    shutil.rmtree(environment, ignore_errors=True)
    run([base_python(name), "-m", "venv", str(environment)])
    run(
        [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
            str(requirements),
        ]
    )
    stamp.write_text(requirements.read_text())
    return str(python)


def base_python(name: str) -> str:
    """Raises Missing when no Python of a version that the peer needs is on this machine."""
    wanted = PYTHONS.get(name)
    if wanted is None:
        return sys.executable
    for version in wanted:
        for candidate in candidates(version):
            asked = subprocess.run([candidate, "-c", "import venv"], capture_output=True)
            if asked.returncode == 0:
                return candidate
    raise Missing(f"needs Python {' or '.join(wanted)}; none is on the PATH or below pyenv's versions")


def candidates(version: str) -> list[str]:
    """`python3.8` on the PATH may be a shim that refuses: pyenv's own copies are tried as well."""
    found = [shutil.which(f"python{version}")]
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found += [str(path) for path in sorted(root.glob(f"versions/{version}.*/bin/python"))]
    return [path for path in found if path]


def run(command: list[str]) -> None:
    done = subprocess.run(["nice", "-n", "10", *command], capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise Missing(f"cannot be installed: {lines[-1] if lines else command[0]}")
