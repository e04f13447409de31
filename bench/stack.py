"""A running `bursa up` for benchmarks: the real binary with its defaults."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import bursa

from bench.processes import cpu_s, memory_mb, switches, tree, words

ROOT = Path(__file__).resolve().parents[1]
BINARY = os.environ.get("BURSA_BIN", str(ROOT / "target/release/bursa"))
RESULTS = ROOT / "bench/results"
WORKERS = 2
ROLES = ["service", "manager", "executor", "watchdog"]


@dataclass
class Stack:
    """Its processes, its address, and when it was started (`time.perf_counter`)."""

    process: subprocess.Popen[str]
    url: str
    token: str
    started: float
    home: Path

    def processes(self) -> dict[int, str]:
        """Pid -> role of every process below and including the watchdog."""
        return {pid: role(words(pid)) for pid in tree(self.process.pid)}

    def by_role(self, count) -> dict[str, float]:
        """Role -> the sum of `count(pid)`."""
        total: dict[str, float] = {}
        for pid, name in self.processes().items():
            total[name] = total.get(name, 0.0) + count(pid)
        return total

    def cpu_s(self) -> dict[str, float]:
        """Role -> CPU seconds used so far."""
        return self.by_role(cpu_s)

    def rss_mb(self) -> dict[str, float]:
        """Role -> resident memory in MB."""
        return self.by_role(lambda pid: memory_mb(pid)["rss"])

    def switches(self) -> dict[str, float]:
        """Role -> context switches so far."""
        return self.by_role(lambda pid: switches([pid]))


def role(command: list[str]) -> str:
    if "bursa.worker" in command:
        return "worker"
    return next((name for name in ROLES if name in command), "?")


@contextmanager
def running(home: Path, *options: str, **more: str) -> Iterator[Stack]:
    """`bursa up` on this home, with more options and environment if given; ends with the block."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BURSA_")}
    command = [BINARY, "up", "--json", "--home", str(home), "--http", "127.0.0.1:0"]
    command += [] if "--zmq" in options else ["--zmq", "127.0.0.1:0"]
    command += [] if "--workers" in options else ["--workers", str(WORKERS)]
    command += ["--python", sys.executable, *options]
    started = time.perf_counter()
    process = subprocess.Popen(
        command, env={**clean, **more}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"bursa up ended with exit code {process.wait()}")
        ready = json.loads(line)
        yield Stack(process, ready["url"], ready["token"], started, home)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory on the disk of the tree, not in a memory file system: commits must be real."""
    (ROOT / "target").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bursa-bench-", dir=ROOT / "target") as directory:
        yield Path(directory)


@contextmanager
def fresh(*options: str) -> Iterator[tuple[Stack, bursa.Client]]:
    """A stack on a new home, warm: its first call is done."""
    with (
        scratch() as directory,
        running(directory / "home", *options) as stack,
        bursa.Client(stack.url, stack.token) as client,
    ):
        client.run(abs, -1).result()
        yield stack, client
