"""The real binary, and Schemathesis in an environment of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import e2e
import environments
import pytest

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE.parents[1] / "target" / "schema"
# The user of a run asks as often as he can, also with tokens that are none.
UNLIMITED = ["BURSA_RATE_READ", "BURSA_RATE_WRITE", "BURSA_RATE_SUBMIT", "BURSA_RATE_BAD_LOGINS"]


@pytest.fixture(scope="session")
def schemathesis() -> Path:
    """The program, installed now if it is not there."""
    if sys.version_info < (3, 10):
        pytest.skip("Schemathesis needs Python >= 3.10")
    packages = HERE / "requirements.txt"
    programs = environments.made(ENVIRONMENT, packages.read_text(), "-r", str(packages))
    return programs / "schemathesis"


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[e2e.Stack]:
    home = tmp_path_factory.mktemp("schema") / "home"
    with e2e.running(home, **dict.fromkeys(UNLIMITED, "0")) as stack:
        yield stack
