"""The real binary, and Schemathesis in an environment of its own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE.parents[1] / "target" / "schema"
# The user of a run asks as often as he can, also with tokens that are none.
UNLIMITED = ["BURSA_RATE_READ", "BURSA_RATE_WRITE", "BURSA_RATE_SUBMIT", "BURSA_RATE_BAD_LOGINS"]


def _e2e() -> ModuleType:
    """The helpers of the end-to-end tests, under another name than this file's."""
    spec = importlib.util.spec_from_file_location("e2e", HERE.parent / "e2e" / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["e2e"] = module
    spec.loader.exec_module(module)
    return module


e2e = _e2e()


@pytest.fixture(scope="session")
def schemathesis() -> Path:
    """The program, installed now if it is not there."""
    if sys.version_info < (3, 10):
        pytest.skip("Schemathesis needs Python >= 3.10")
    packages = HERE / "requirements.txt"
    program, done = ENVIRONMENT / "bin" / "schemathesis", ENVIRONMENT / "packages"
    if not done.exists() or done.read_text() != packages.read_text():
        venv.create(ENVIRONMENT, clear=True, with_pip=True)
        install = [
            str(ENVIRONMENT / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "-r",
            str(packages),
        ]
        subprocess.run(install, check=True, timeout=600)
        done.write_text(packages.read_text())
    return program


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[e2e.Stack]:
    home = tmp_path_factory.mktemp("schema") / "home"
    with e2e.running(home, **dict.fromkeys(UNLIMITED, "0")) as stack:
        yield stack
