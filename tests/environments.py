"""Python environments of packages that must not be beside the project's own."""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path


def made(home: Path, wanted: str, *packages: str) -> Path:
    """The folder with the programs of the environment `home`, made now if it was not made as `wanted`.

    `packages` are what pip is asked to install.
    """
    programs, done = home / "bin", home / "packages"
    if not done.exists() or done.read_text() != wanted:
        venv.create(home, clear=True, with_pip=True)
        install = [str(programs / "python"), "-m", "pip", "install", "--quiet", *packages]
        subprocess.run(install, check=True, timeout=600)
        done.write_text(wanted)
    return programs
