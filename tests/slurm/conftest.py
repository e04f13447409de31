"""A real Slurm of four nodes on this host, and the real binary whose blocks are its jobs."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import e2e
import pytest

HERE = Path(__file__).resolve().parent
PROGRAMS = ("slurmctld", "slurmd", "munged", "squeue")


def free_ports(count: int) -> int:
    """The first of so many free ports in a row."""
    for base in range(30_000 + os.getpid() % 1_000 * 20, 60_000, count):
        with contextlib.ExitStack() as held:
            try:
                for port in range(base, base + count):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return base
    raise AssertionError("no free ports")


@dataclass
class Cluster:
    """A running Slurm."""

    env: dict[str, str]

    def run(self, *words: str) -> str:
        """What one of its commands prints."""
        done = subprocess.run(words, env=self.env, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def jobs(self) -> dict[str, str]:
        """Our jobs that wait or run: number and state."""
        lines = self.run("squeue", "-h", "-t", "PD,CF,R", "-o", "%i %T").splitlines()
        return dict(line.split() for line in lines)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        text = f"needs {', '.join(missing)} (Debian: apt install slurm-wlm munge)"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    directory = tmp_path_factory.mktemp("slurm")
    env = {**os.environ, "SLURM_BASE_PORT": str(free_ports(10))}
    up = subprocess.run([HERE / "slurm-up", directory], env=env, capture_output=True, text=True, timeout=60)
    try:
        assert up.returncode == 0, up.stderr
        yield Cluster({**os.environ, "SLURM_CONF": str(directory / "slurm.conf")})
    finally:
        subprocess.run([HERE / "slurm-down", directory], timeout=60)


@pytest.fixture
def start(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Starts a service whose endpoint has these blocks, with `more` environment. Stopped whatever happens;
    then no job may be left."""
    with contextlib.ExitStack() as stacks:

        def begin(more: dict[str, str] | None = None, **blocks: object) -> Any:
            home = tmp_path / "home"
            home.mkdir(mode=0o700)
            settings = {
                "provider": "slurm",
                "interface": "lo",
                "cores_per_node": 1,
                "idle_ms": 60_000,
                **blocks,
            }
            lines = (f'{key} = "{value}"' for key, value in settings.items())
            (home / "config.toml").write_text("[blocks]\n" + "\n".join(lines) + "\n")
            conf = cluster.env["SLURM_CONF"]
            return stacks.enter_context(e2e.running(home, SLURM_CONF=conf, **(more or {})))

        yield begin
    e2e.wait_for(lambda: not cluster.jobs(), 20, "the end of all jobs")
