"""An image without a registry: this host's Python and what it needs, in a directory."""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
from pathlib import Path

PYTHON = os.path.realpath("/usr/bin/python3")
"""The system's, whose files are known."""


def make(root: Path, marker: str, *, python: bool = True) -> None:
    """A root directory whose `/etc/marker` says `marker`."""
    programs = [os.path.realpath("/bin/sh"), os.path.realpath("/usr/bin/env"), *([PYTHON] if python else [])]
    needed = {library for program in programs for library in _libraries(program)}
    for program, name in zip(programs, ("sh", "env", "python3"), strict=False):
        _copy(program, root / "usr/bin" / name)
    if python:
        stdlib = f"/usr/lib/{os.path.basename(PYTHON)}"
        leave = shutil.ignore_patterns("test", "dist-packages", "idlelib", "lib2to3")
        shutil.copytree(stdlib, f"{root}{stdlib}", symlinks=True, ignore=leave)
        needed |= {
            library for module in glob.glob(f"{stdlib}/lib-dynload/*.so") for library in _libraries(module)
        }
    for library in needed:
        _copy(os.path.realpath(library), Path(f"{root}/usr{library.removeprefix('/usr')}"))
    for name in ("bin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")
    for name in ("etc", "proc", "sys", "dev", "tmp", "run", "var", "home", "root", "mnt"):
        (root / name).mkdir()
    (root / "etc/marker").write_text(marker)
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
    for name in ("group", "hosts", "resolv.conf", "hostname"):
        (root / "etc" / name).touch()


def _libraries(path: str) -> set[str]:
    said = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
    return set(re.findall(r"(/\S+) \(0x", said))


def _copy(source: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
