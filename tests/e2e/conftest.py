"""The real binary in a temporary home, on ports of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import bursa
import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("BURSA_BIN", ROOT / "target/release/bursa"))
START_S = 30.0
STOP_S = 5.0


def environment(home: Path, **more: str) -> dict[str, str]:
    """This process's environment without any Bursa setting of its own, and with this home."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BURSA_")}
    return {**clean, "BURSA_HOME": str(home), "BURSA_PYTHON": sys.executable, **more}


def run_cli(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """One command of the binary, finished."""
    command = [str(BINARY), *arguments]
    return subprocess.run(command, env=environment(home, **more), capture_output=True, text=True, timeout=60)


def descendants(pid: int) -> dict[int, str]:
    """Every live process below `pid`, with its command line."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: dict[int, str] = {}
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            try:
                line = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            except OSError:
                continue
            found[child] = line
            waiting.append(child)
    return found


def with_role(pid: int, role: str) -> list[int]:
    """Pids of the processes below `pid` whose command line says `role`."""
    return sorted(child for child, line in descendants(pid).items() if role in line.split())


def numbers(pid: int) -> list[str]:
    """The numbers of process `pid` in its pid namespaces, from ours inwards; none if it is gone."""
    try:
        return Path(f"/proc/{pid}/status").read_text().partition("NSpid:")[2].split("\n")[0].split()
    except OSError:
        return []


def workers_of(pid: int) -> list[int]:
    """Pids of the workers below `pid`: each the second process of its namespace, in that of the zygote."""
    found = with_role(pid, "bursa.worker")
    return [child for child in found if numbers(child)[2:] == ["2"]]


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def zygote_of(worker: int) -> int:
    """Between them is the first process of the worker's namespace."""
    return parent_of(parent_of(worker))


def myself() -> str:
    """Which process this is, for `on_host`: a function's own number says nothing outside of its sandbox."""
    # Names of namespaces are used again, times of starts are not.
    start = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    return f"{os.readlink('/proc/self/ns/pid')}/{os.getpid()}/{start}"


def on_host(process: str) -> int:
    """The number that a process which said `myself` has here; 0: it is gone."""
    namespace, inner = process.split("/")[:2]
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if os.readlink(entry / "ns/pid") == namespace and numbers(int(entry.name))[-1:] == [inner]:
                return int(entry.name)
        except OSError:
            continue
    return 0


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> object:
    """The first true value of `condition`, looked at often; bounds a failure, proves nothing by itself."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what} did not happen within {seconds} s"
        time.sleep(0.02)


def alive(pids: dict[int, str]) -> dict[int, str]:
    """Those of `pids` that still run the same command."""
    still = {}
    for pid, line in pids.items():
        try:
            now = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if now == line and state != "Z":
            still[pid] = line
    return still


@dataclass
class Stack:
    """A running `bursa up`."""

    process: subprocess.Popen[str]
    url: str
    token: str
    endpoint_id: str
    home: Path
    clients: list[bursa.Client] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.process.pid

    def client(self) -> bursa.Client:
        """A client of its own, closed with the stack."""
        client = bursa.Client(self.url, self.token)
        self.clients.append(client)
        return client

    def stop(self) -> float:
        """Ends it with SIGTERM; how long that took, in seconds. Nothing may be left."""
        for client in self.clients:
            client.close()
        below = descendants(self.pid)
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=3 * STOP_S)
        took = time.monotonic() - started
        left = alive(below)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert not left, f"left behind: {left}"
        return took


def start(home: Path, *flags: str, **more: str) -> Stack:
    """`bursa up` as scripts start it: one JSON line when a first call would succeed."""
    command = [
        str(BINARY),
        "up",
        "--json",
        "--home",
        str(home),
        "--http",
        "127.0.0.1:0",
        "--zmq",
        "127.0.0.1:0",
    ]
    # What tests and their functions tell each other goes through files of the test session.
    command += [] if "--workers" in flags else ["--workers", "2"]
    command += ["--write", str(home.parents[1]), "--read", str(ROOT / "docs"), *flags]
    log = (home.parent / f"{home.name}.stderr").open("a")
    process = subprocess.Popen(
        command, env=environment(home, **more), stdout=subprocess.PIPE, stderr=log, text=True
    )
    line = process.stdout.readline()
    if not line:
        process.wait(timeout=START_S)
        pytest.fail(f"bursa up ended with {process.returncode}: {Path(log.name).read_text()[-4000:]}")
    ready = json.loads(line)
    assert set(ready) == {"url", "token", "endpoint_id", "home", "pid"}
    assert ready["pid"] == process.pid
    return Stack(process, ready["url"], ready["token"], ready["endpoint_id"], Path(ready["home"]))


@contextmanager
def running(home: Path, *flags: str, **more: str) -> Iterator[Stack]:
    """A stack that is stopped whatever happens."""
    stack = start(home, *flags, **more)
    try:
        yield stack
    finally:
        if stack.process.poll() is None:
            stack.stop()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for all tests that do not harm it."""
    with running(tmp_path_factory.mktemp("shared") / "home") as stack:
        yield stack


@pytest.fixture
def client(stack: Stack) -> Iterator[bursa.Client]:
    """A client of the shared stack."""
    with bursa.Client(stack.url, stack.token) as client:
        yield client
