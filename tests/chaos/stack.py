"""`bursa up` on one home and fixed ports, its links through proxies; and the client processes."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections import Counter
from contextlib import suppress
from pathlib import Path

import processes
from proxy import HERE as PROXY
from proxy import Link, Proxies

HERE = Path(__file__).resolve().parent
BINARY = Path(os.environ.get("BURSA_BIN", HERE.parents[1] / "target/release/bursa"))
READY_S = 120.0
STOP_S = 20.0

# Thresholds far below the defaults, so that a short run sees pauses on both sides of each.
TIMERS = {
    "BURSA_SERVICE_HEARTBEAT_MS": "1000",
    "BURSA_SERVICE_THRESHOLD_MS": "4000",
    "BURSA_ENDPOINT_LINK_HEARTBEAT_MS": "1000",
    "BURSA_ENDPOINT_LINK_THRESHOLD_MS": "4000",
    "BURSA_ENDPOINT_HEARTBEAT_MS": "500",
    "BURSA_ENDPOINT_THRESHOLD_MS": "3000",
    "BURSA_ENDPOINT_ADOPT_MS": "6000",
    "BURSA_WATCHDOG_HEARTBEAT_MS": "1000",
    "BURSA_WATCHDOG_THRESHOLD_MS": "4000",
    # It is to go on whatever happens, and each death is to be the first of its kind.
    "BURSA_WATCHDOG_DEATHS": "1000",
    "BURSA_WATCHDOG_WITHIN_MS": "5000",
}


def free_ports(count: int) -> list[int]:
    """All different, and none that a connection may get as its own end: that would keep a restart out."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found: list[int] = []
    for port in random.sample(range(max(1024, first - 20_000), first), 1_000):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
        if len(found) == count:
            break
    return found


class Violation(Exception):
    """The product did what it may not do."""


class Stack:
    """One `bursa up` at a time."""

    def __init__(self, home: Path, executors: int, workers: int) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("BURSA_")}
        self.links = self._links()
        to_service, to_manager = self.links[1:]
        self.environment = {
            **clean,
            **TIMERS,
            "BURSA_HOME": str(home),
            "BURSA_PYTHON": sys.executable,
            "BURSA_EXECUTORS": str(executors),
            "BURSA_WORKERS": str(workers),
            "BURSA_PUBLIC_ZMQ": f"{PROXY}:{to_service.port}",
            # Who connects to a proxy finds the bulk port beside it under the same number.
            "BURSA_BULK": str(to_service.bulk),
            "BURSA_ENDPOINT_BULK": str(to_manager.bulk),
            "BURSA_ENDPOINT_LISTEN": f"127.0.0.1:{to_manager.target}",
            "BURSA_ENDPOINT_PUBLIC_LISTEN": f"{PROXY}:{to_manager.port}",
        }
        self.command = [str(BINARY), "up", "--json", "--home", str(home), "--write", str(home.parent)]
        self.command += [
            "--http",
            f"127.0.0.1:{self.links[0].target}",
            "--zmq",
            f"127.0.0.1:{to_service.target}",
        ]
        self.log = home.parent / "up.stderr"
        self.process: subprocess.Popen[str] | None = None
        self.refusals = 0

    def _links(self) -> list[Link]:
        proxies = Proxies()
        names = ("client-service", "manager-service", "executor-manager")
        ports = free_ports(3 * len(names))
        return [proxies.link(name, ports.pop(), ports.pop(), ports.pop()) for name in names]

    @property
    def url(self) -> str:
        """The service as clients reach it."""
        return f"http://127.0.0.1:{self.links[0].port}"

    def start(self) -> dict:
        """Until it is ready. The home may be held for a while by what the one before left."""
        end = time.monotonic() + READY_S
        while time.monotonic() < end:
            self.process = subprocess.Popen(
                self.command,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=self.log.open("a"),
                text=True,
            )
            line = self._ready_line(end)
            if line:
                return json.loads(line)
            self.refusals += 1
            time.sleep(0.2)
        raise Violation(f"bursa up was not ready within {READY_S:.0f} s; see {self.log}")

    def _ready_line(self, end: float) -> str:
        ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))
        line = self.process.stdout.readline() if ready else ""
        if not line:
            self.process.kill()
            self.process.wait()
        return line

    def check(self) -> None:
        if self.process.poll() is not None:
            raise Violation(f"bursa up ended by itself ({self.process.returncode}); see {self.log}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> float:
        """By SIGTERM. How long it took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            raise Violation(f"bursa up did not stop within {STOP_S:.0f} s") from None
        return time.monotonic() - started


class Clients:
    """Client processes, each with a journal and a group of its own. One, the probe, is spared."""

    PROBE, PROBE_RATE = "probe", 30.0

    def __init__(self, folder: Path, common: list[str], rate: float, environment: dict[str, str]) -> None:
        self.folder, self.common, self.rate, self.environment = folder, common, rate, environment
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.groups: dict[str, str] = {}
        self.lives: Counter = Counter()
        self.findings: list[str] = []

    def start(self, name: str) -> None:
        """A new one, or an old one with its journal."""
        group = self.groups.setdefault(name, str(uuid.uuid4()))
        self.journal(name).touch()
        self.lives[name] += 1
        command = [sys.executable, str(HERE / "load.py"), *self.common, "--name", name, "--group", group]
        command += ["--journal", str(self.journal(name)), "--life", str(self.lives[name])]
        probe = name == self.PROBE
        command += ["--rate", str(self.PROBE_RATE if probe else self.rate), *(["--probe"] if probe else [])]
        log = (self.folder / f"{name}.stderr").open("ab")
        self.running[name] = subprocess.Popen(command, env=self.environment, stderr=log)

    def victims(self) -> list[str]:
        return sorted(name for name in self.running if name != self.PROBE)

    def journal(self, name: str) -> Path:
        return self.folder / f"{name}.journal"

    def journals(self) -> list[Path]:
        return [self.journal(name) for name in self.groups if self.journal(name).exists()]

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def check(self) -> None:
        for name, process in self.running.items():
            if process.poll() is not None:
                raise Violation(f"client {name} ended by itself ({process.returncode}); see its log")

    def stop(self, patience: float) -> None:
        """Each ends when all that it submitted has ended."""
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        end = time.monotonic() + patience
        for name, process in self.running.items():
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.findings.append(f"client {name} still waits for results after {patience:.0f} s")
                process.kill()
                process.wait()
            if process.returncode not in (0, -signal.SIGKILL, -signal.SIGTERM):  # TERM: it was just starting
                self.findings.append(f"client {name} ended with {process.returncode}; see its log")
        self.running.clear()

    def pids(self) -> set[int]:
        return {process.pid for process in self.running.values()}


def nothing_left(patience: float) -> list[str]:
    """What still runs below this process when time is up; killed then."""
    end = time.monotonic() + patience
    while True:
        processes.reap(set())
        left = processes.below()
        if not left or time.monotonic() >= end:
            processes.kill_all(list(left))
            return [f"{pid}: {line}" for pid, line in left.items()]
        time.sleep(0.05)
