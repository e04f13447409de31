"""An installed `globus-compute-endpoint`, the service that it belongs to, and the programs that call it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import bursa
import pytest
from conftest import PROGRAMS, e2e

NAME = "site"
# Root's endpoints map users to accounts: ours are to be those of somebody else, who may read root's Python.
UNPRIVILEGED = ["unshare", "--user", "--map-user=65534", "--map-group=65534"] if os.getuid() == 0 else []
# These bound failures, on machines with other work: a start is ten seconds of imports on an idle core.
START_S, STOP_S, PROGRAM_S = 240, 120, 600


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Service:
    """`bursa serve` on ports that it keeps from life to life."""

    home: Path
    http: int = field(default_factory=free_port)
    amqp: int = field(default_factory=free_port)
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    @property
    def token(self) -> str:
        text = (self.home / "client.toml").read_text()
        return text.partition('token = "')[2].partition('"')[0]

    @property
    def log(self) -> Path:
        return self.home.parent / "service.log"

    def start(self) -> None:
        command = [str(e2e.BINARY), "serve", "--http", f"127.0.0.1:{self.http}", "--zmq", "127.0.0.1:0"]
        environment = e2e.environment(self.home, BURSA_AMQP=f"127.0.0.1:{self.amqp}")
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert "ready" in self.process.stdout.readline()

    def end(self, number: int) -> None:
        self.process.send_signal(number)
        self.process.wait(timeout=STOP_S)
        self.process.stdout.close()


@dataclass
class Site:
    """A place where the official endpoint is installed and set up."""

    service: Service
    home: Path
    python: Path
    process: subprocess.Popen[bytes] | None = None
    programs: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def directory(self) -> Path:
        return self.home / ".globus_compute" / NAME

    def environment(self) -> dict[str, str]:
        """What `bursa env globus-compute` prints, and as little else as there can be."""
        printed = e2e.run_cli(self.service.home, "env", "globus-compute", "--json")
        assert printed.returncode == 0, printed.stderr
        path = f"{self.python.parent}:/usr/bin:/bin"
        forks = str(PROGRAMS / "forks")
        return {"PATH": path, "HOME": str(self.home), "PYTHONPATH": forks, **json.loads(printed.stdout)}

    def words(self, *arguments: str) -> list[str]:
        """A command line of the endpoint's program."""
        return [*UNPRIVILEGED, str(self.python.parent / "globus-compute-endpoint"), *arguments]

    def command(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {**self.environment(), **more}
        return subprocess.run(
            self.words(*arguments), env=environment, capture_output=True, text=True, timeout=START_S
        )

    def configure(self, template: str, **settings: object) -> None:
        lines = {"display_name": "a site", "heartbeat_period": 5, **settings}
        self.write("config.yaml", "".join(f"{key}: {value}\n" for key, value in lines.items()))
        self.write("user_config_template.yaml.j2", template)
        (self.directory / "user_config_schema.json").unlink(missing_ok=True)

    def write(self, name: str, text: str) -> None:
        """One of its files."""
        (self.directory / name).write_text(text)

    def start(self) -> str:
        """Starts it; the endpoint's id, when it is online."""
        self._run("start", NAME)
        e2e.wait_for(lambda: self.id and self.status() == "online", START_S, "the endpoint online")
        return self.id

    def restart(self) -> None:
        """As its user does: what runs now is stopped by what is started."""
        before = self.process
        self._run("restart", NAME)
        before.wait(timeout=START_S)
        e2e.wait_for(lambda: self.status() == "online", START_S, "the endpoint online")

    def _run(self, *arguments: str) -> None:
        with (self.home / "start.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.words(*arguments), env=self.environment(), stdout=log, stderr=log, start_new_session=True
            )

    @property
    def id(self) -> str:
        file = self.directory / "endpoint.json"
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):  # it is being written
            return json.loads(file.read_text())["endpoint_id"]
        return ""

    def status(self) -> str:
        client = bursa.Client(self.service.url, self.service.token)
        with client, contextlib.suppress(bursa.BursaError):
            return client.endpoint_status(self.id)["status"]
        return "unknown"

    def user_endpoints(self) -> list[int]:
        below = e2e.descendants(self.process.pid)
        return [pid for pid, line in below.items() if line.startswith("Globus Compute") and "uep." in line]

    def stop(self) -> None:
        stopping = subprocess.Popen(self.words("stop", NAME), env=self.environment())
        # It waits until the process is gone: for its parent to have heard so.
        self.process.wait(timeout=STOP_S)
        assert stopping.wait(timeout=STOP_S) == 0
        e2e.wait_for(lambda: self.status() == "offline", STOP_S, "the endpoint offline")

    def kill(self) -> None:
        """All of its processes at once."""
        for pid in [self.process.pid, *e2e.descendants(self.process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(timeout=STOP_S)

    def end(self) -> None:
        """Leaves nothing behind."""
        for program in self.programs:
            program.kill()
            program.communicate()
        if self.process and self.process.poll() is None:
            self.kill()
        # Workers outlive a user endpoint that was killed: Parsl's for two minutes, those of a pool for ever.
        for entry in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if str(self.home).encode() in entry.read_bytes():
                    os.kill(int(entry.parent.name), signal.SIGKILL)

    def program(self, *arguments: str) -> subprocess.Popen[str]:
        command = [str(self.python), str(PROGRAMS / "endpoint.py"), self.id, *arguments]
        program = subprocess.Popen(
            command, env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.programs.append(program)
        return program

    def run(self, *arguments: str) -> dict[str, object]:
        return said(self.program(*arguments))

    def logs(self) -> str:
        """The ends of what service, endpoint and user endpoints wrote."""
        logs = [self.service.log, self.home / "start.log"]
        logs += sorted((self.home / ".globus_compute").glob("*/endpoint.log"))
        tails = {log: log.read_text(errors="replace")[-6000:] for log in logs if log.exists()}
        return "\n".join(f"== {log}\n{tail}" for log, tail in tails.items())


def said(program: subprocess.Popen[str]) -> dict[str, object]:
    """What a program said; all of that is shown when it failed, or does not end."""
    try:
        out, errors = program.communicate(timeout=PROGRAM_S)
    except subprocess.TimeoutExpired:
        program.kill()
        out, errors = program.communicate()
        pytest.fail(f"the program did not end within {PROGRAM_S} s; it said\n{out}\n{errors[-4000:]}")
    assert program.returncode == 0, f"it said\n{out}\n{errors[-4000:]}"
    return {name: value for line in out.splitlines() for name, value in json.loads(line).items()}


def cut(port: int) -> int:
    """Breaks every connection to this port, as a firewall does that forgets them; how many there were."""
    killed = subprocess.run(
        ["ss", "-H", "-K", "-t", "state", "established", "dport", "=", str(port)],
        capture_output=True,
        text=True,
        check=False,
    )
    if killed.returncode or os.getuid():
        pytest.skip("only root breaks others' connections")
    return len(killed.stdout.splitlines())
