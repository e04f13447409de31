"""The real packages of funcX and Globus Compute, each in an environment of its own, against the real binary.

Their clients know one address without TLS, http://localhost:5000. They reach a service on any port by the
variable `http_proxy`: they send it requests in absolute form, for that name.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import e2e
import environments
import pytest

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE / "programs"
ENVIRONMENTS = HERE.parents[1] / "target" / "compat"
PACKAGES = {
    "sdk-4": ["globus-compute-sdk==4.19.0"],
    "sdk-3": ["globus-compute-sdk==3.16.1"],
    "sdk-2": ["globus-compute-sdk==2.34.0"],
    "endpoint-4": ["globus-compute-endpoint==4.19.0", "globus-compute-sdk==4.19.0"],
    "endpoint-3": ["globus-compute-endpoint==3.16.1", "globus-compute-sdk==3.16.1"],
    "endpoint-2": ["globus-compute-endpoint==2.34.0", "globus-compute-sdk==2.34.0"],
    "funcx-2": ["funcx==2.4.0", "setuptools<80"],
    "funcx-1": ["funcx==1.0.13", "setuptools<80"],
    "funcx-0": ["funcx==0.3.9", "setuptools<80"],
}
#: By what a client has a token that nobody logged in for.
SECRETS = [
    "GLOBUS_COMPUTE_CLIENT_ID",
    "GLOBUS_COMPUTE_CLIENT_SECRET",
    "FUNCX_SDK_CLIENT_ID",
    "FUNCX_SDK_CLIENT_SECRET",
]


def python_of(name: str) -> Path:
    """The interpreter of the environment with these packages, made now if it is not there."""
    packages = PACKAGES[name]
    return environments.made(ENVIRONMENTS / name, "\n".join(packages), *packages) / "python"


@dataclass
class Clients:
    """Programs of one version of the packages, in a home of their own."""

    stack: e2e.Stack
    python: Path
    home: Path

    @property
    def name(self) -> str:
        """Of the packages' environment."""
        return self.python.parent.parent.name

    def run(self, program: str, *arguments: str, timeout: float = 120, **more: str) -> list[object]:
        """What the program said: a JSON value in each line of its standard output."""
        return self.run_with(self.environment(**more), program, *arguments, timeout=timeout)

    def run_with(
        self, environment: dict[str, str], program: str, *arguments: str, timeout: float = 120
    ) -> list[object]:
        """The same with these variables and no others."""
        command = [str(self.python), str(PROGRAMS / program), self.stack.endpoint_id, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0, f"{program} ended with {done.returncode}:\n{done.stderr[-4000:]}"
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith(("{", "[", '"'))]

    def fill_store(self) -> dict[str, str]:
        """Has the command put tokens where these programs keep them; the variables that it prints."""
        command = [str(e2e.BINARY), "--json", "env", "globus-compute", "--store"]
        done = subprocess.run(command, env=self.environment(), capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def without_secrets(self, **more: str) -> dict[str, str]:
        """All that a user sets who is logged in, or is about to be."""
        return {name: value for name, value in self.environment(**more).items() if name not in SECRETS}

    def environment(self, **more: str) -> dict[str, str]:
        """All that a user sets."""
        return {
            "PATH": f"{self.python.parent}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "http_proxy": self.stack.url,
            "GLOBUS_SDK_ENVIRONMENT": "local",
            "GLOBUS_SDK_SERVICE_URL_AUTH": "http://localhost:5000/",
            "GLOBUS_COMPUTE_CLIENT_ID": "alice",
            "GLOBUS_COMPUTE_CLIENT_SECRET": self.stack.token,
            "FUNCX_SDK_CLIENT_ID": "alice",
            "FUNCX_SDK_CLIENT_SECRET": self.stack.token,
            "BURSA_URL": self.stack.url,
            "BURSA_TOKEN": self.stack.token,
            **more,
        }


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[e2e.Stack]:
    with e2e.running(tmp_path_factory.mktemp("compat") / "home") as stack:
        yield stack


@pytest.fixture
def clients(stack: e2e.Stack, tmp_path: Path, request: pytest.FixtureRequest) -> Clients:
    """Those of the version that the test is given."""
    return Clients(stack, python_of(request.param), tmp_path)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failure at an official endpoint shows what its processes and the service wrote."""
    report = yield
    if report.failed and (site := item.funcargs.get("site")):
        report.sections.append(("logs of service and endpoint", site.logs()))
    return report
