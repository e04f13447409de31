"""The real `globus-compute-endpoint` as an endpoint of this service, and what befalls it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import bursa
import pytest
from conftest import PROGRAMS, e2e, python_of

NAME = "site"
# Root's endpoints map users to accounts: ours are to be those of somebody else, who may read root's Python.
UNPRIVILEGED = ["unshare", "--user", "--map-user=65534", "--map-group=65534"] if os.getuid() == 0 else []
TEMPLATE = """
engine:
  type: {engine}
  max_workers: {{{{ workers|default({workers}) }}}}
heartbeat_period: 5
"""
# Parsl's, without a network: its first call takes several seconds.
PARSL = """
engine:
  type: GlobusComputeEngine
  address: 127.0.0.1
  max_workers_per_node: 2
  provider:
    type: LocalProvider
    init_blocks: 1
    max_blocks: 1
heartbeat_period: 5
"""
everything = pytest.mark.skipif("COMPAT_ALL" not in os.environ, reason="only in `make compat-all`")


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

    def start(self) -> None:
        command = [str(e2e.BINARY), "serve", "--http", f"127.0.0.1:{self.http}", "--zmq", "127.0.0.1:0"]
        environment = e2e.environment(self.home, BURSA_AMQP=f"127.0.0.1:{self.amqp}")
        log = (self.home.parent / "service.log").open("a")
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
        assert "ready" in self.process.stdout.readline()

    def end(self, number: int) -> None:
        self.process.send_signal(number)
        self.process.wait(timeout=30)


@dataclass
class Site:
    """A place where the official endpoint is installed and set up."""

    service: Service
    home: Path
    python: Path
    process: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        """What `bursa env globus-compute` prints, and as little else as there can be."""
        printed = e2e.run_cli(self.service.home, "env", "globus-compute", "--json")
        assert printed.returncode == 0, printed.stderr
        path = f"{self.python.parent}:/usr/bin:/bin"
        forks = str(PROGRAMS / "forks")
        return {"PATH": path, "HOME": str(self.home), "PYTHONPATH": forks, **json.loads(printed.stdout)}

    def command(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [*UNPRIVILEGED, str(self.python.parent / "globus-compute-endpoint"), *arguments]
        environment = {**self.environment(), **more}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)

    def configure(self, template: str, **settings: object) -> None:
        directory = self.home / ".globus_compute" / NAME
        lines = {"display_name": "a site", "heartbeat_period": 5, **settings}
        (directory / "config.yaml").write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
        (directory / "user_config_template.yaml.j2").write_text(template)
        (directory / "user_config_schema.json").unlink(missing_ok=True)

    def start(self) -> str:
        """Starts it; the endpoint's id, when it is online."""
        command = [*UNPRIVILEGED, str(self.python.parent / "globus-compute-endpoint"), "start", NAME]
        log = (self.home / "start.log").open("ab")
        self.process = subprocess.Popen(
            command, env=self.environment(), stdout=log, stderr=log, start_new_session=True
        )
        e2e.wait_for(lambda: self.id and self.status() == "online", 60, "the endpoint online")
        return self.id

    @property
    def id(self) -> str:
        file = self.home / ".globus_compute" / NAME / "endpoint.json"
        return json.loads(file.read_text())["endpoint_id"] if file.exists() else ""

    def status(self) -> str:
        client = bursa.Client(self.service.url, self.service.token)
        with client, contextlib.suppress(bursa.BursaError):
            return client.endpoint_status(self.id)["status"]
        return "unknown"

    def user_endpoints(self) -> list[int]:
        below = e2e.descendants(self.process.pid)
        return [pid for pid, line in below.items() if line.startswith("Globus Compute") and "uep." in line]

    def stop(self) -> None:
        command = [*UNPRIVILEGED, str(self.python.parent / "globus-compute-endpoint"), "stop", NAME]
        stopping = subprocess.Popen(command, env=self.environment())
        # It waits until the process is gone: for its parent to have heard so.
        self.process.wait(timeout=60)
        assert stopping.wait(timeout=60) == 0
        e2e.wait_for(lambda: self.status() == "offline", 30, "the endpoint offline")

    def kill(self) -> None:
        """All of its processes at once."""
        for pid in [self.process.pid, *e2e.descendants(self.process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(timeout=30)

    def program(self, *arguments: str) -> subprocess.Popen[str]:
        command = [str(self.python), str(PROGRAMS / "endpoint.py"), self.id, *arguments]
        return subprocess.Popen(
            command, env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, *arguments: str) -> dict[str, object]:
        return said(self.program(*arguments))


def said(program: subprocess.Popen[str]) -> dict[str, object]:
    out, errors = program.communicate(timeout=300)
    assert program.returncode == 0, errors[-4000:]
    return {name: value for line in out.splitlines() for name, value in json.loads(line).items()}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("service") / "home")
    service.start()
    yield service
    service.end(signal.SIGTERM)


@pytest.fixture
def site(service: Service, tmp_path: Path) -> Iterator[Site]:
    site = Site(service, tmp_path / "site", python_of("endpoint-4"))
    site.home.mkdir()
    assert site.command("configure", NAME).returncode == 0
    site.configure(TEMPLATE.format(engine="ThreadPoolEngine", workers=4))
    yield site
    if site.process and site.process.poll() is None:
        site.kill()
    # Parsl's workers outlive a user endpoint that was killed, for two minutes.
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(site.home).encode() in entry.read_bytes():
                os.kill(int(entry.parent.name), signal.SIGKILL)


@pytest.mark.parametrize("engine", ["ThreadPoolEngine", "ProcessPoolEngine"])
def test_its_calls(site: Site, engine: str) -> None:
    site.configure(TEMPLATE.format(engine=engine, workers=4))
    site.start()
    heard = site.run("all")
    assert heard["one"] == 42
    assert heard["many"] == [2 * n for n in range(60)]
    kind, text = heard["failed"]
    assert kind == "TaskExecutionFailed" and text.rstrip().endswith("ValueError: no 7")
    assert heard["bulk"] == 7_000_000
    assert "MaxResultSizeExceeded" in heard["refused"]
    assert heard["shell"] == "heard\n"
    assert heard["status"] == "online"
    # All of it is in the store: another process finds it there.
    assert site.run("reload", heard["group"]) == {"count": 65, "failed": 2}


@everything
def test_calls_of_workers_on_nodes(site: Site, tmp_path: Path) -> None:
    site.configure(PARSL)
    site.start()
    assert site.run("one") == {"one": 8}
    program = site.program("wait", str(tmp_path / "now"))
    e2e.wait_for((tmp_path / "now").exists, 120, "a first result")
    (pid,) = site.user_endpoints()
    os.kill(pid, signal.SIGKILL)
    assert said(program) == {"got": list(range(8))}


def test_options_make_another_user_endpoint(site: Site) -> None:
    site.start()
    assert site.run("config", "1")["got"] == [0, 1, 2, 3]
    assert site.run("config", "4")["got"] == [0, 1, 2, 3]
    assert len(site.user_endpoints()) == 2
    with bursa.Client(site.service.url, site.service.token) as client:
        e2e.wait_for(lambda: client.endpoint_status(site.id)["slots_total"] == 5, 30, "reports of both")


def test_stop_start_restart_and_delete(site: Site) -> None:
    first = site.start()
    assert site.run("one") == {"one": 8}
    site.stop()
    assert site.start() == first
    assert site.run("one") == {"one": 8}
    site.stop()
    deleted = site.command("delete", NAME, "--yes")
    assert deleted.returncode == 0, deleted.stderr
    with bursa.Client(site.service.url, site.service.token) as client:
        assert first not in [endpoint["endpoint_id"] for endpoint in client.endpoints()]


def test_a_revoked_key_ends_it_until_it_is_started_again(site: Site) -> None:
    first = site.start()
    assert site.run("one") == {"one": 8}
    headers = {"Authorization": f"Bearer {site.service.token}"}
    url = f"{site.service.url}/api/v1/endpoints/{first}/revoke-key"
    urllib.request.urlopen(urllib.request.Request(url, headers=headers, method="POST"), timeout=30).close()
    site.process.wait(timeout=60)
    e2e.wait_for(lambda: site.status() == "offline", 30, "the endpoint offline")
    assert site.start() == first
    assert site.run("one") == {"one": 8}


def test_a_killed_user_endpoint_loses_nothing(site: Site, tmp_path: Path) -> None:
    site.start()
    program = site.program("wait", str(tmp_path / "now"))
    e2e.wait_for((tmp_path / "now").exists, 120, "a first result")
    (pid,) = site.user_endpoints()
    os.kill(pid, signal.SIGKILL)
    assert said(program) == {"got": list(range(8))}


def test_a_killed_endpoint_loses_nothing(site: Site, tmp_path: Path) -> None:
    site.start()
    program = site.program("wait", str(tmp_path / "now"))
    e2e.wait_for((tmp_path / "now").exists, 120, "a first result")
    site.kill()
    (site.home / ".globus_compute" / NAME / "daemon.pid").unlink()
    e2e.wait_for(lambda: site.status() == "offline", 60, "the endpoint offline")
    site.start()
    assert said(program) == {"got": list(range(8))}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_of_the_service_loses_nothing(site: Site, tmp_path: Path, number: int) -> None:
    site.start()
    program = site.program("wait", str(tmp_path / "now"))
    e2e.wait_for((tmp_path / "now").exists, 120, "a first result")
    site.service.end(number)
    site.service.start()
    assert said(program) == {"got": list(range(8))}
    assert site.status() == "online"


def test_connections_that_break_lose_nothing(site: Site, tmp_path: Path) -> None:
    site.start()
    program = site.program("wait", str(tmp_path / "now"))
    e2e.wait_for((tmp_path / "now").exists, 120, "a first result")
    assert cut(site.service.amqp) >= 5, "two of the endpoint, three of its user endpoint"
    assert said(program) == {"got": list(range(8))}
    assert site.run("one") == {"one": 8}


def test_one_that_cannot_start_says_why(site: Site) -> None:
    site.configure("engine:\n  type: NoSuchEngine\n")
    site.start()
    assert "NoSuchEngine" in site.run("one")["error"]


def test_a_call_of_our_own_client_says_what_to_do(site: Site) -> None:
    site.start()
    client = bursa.Client(site.service.url, site.service.token)
    with client, pytest.raises(bursa.BursaError, match="call it with a client of Globus Compute"):
        client.run(abs, -1, endpoint_id=site.id).result(timeout=60)


def test_a_wrong_secret_is_told(site: Site) -> None:
    refused = site.command("start", NAME, GLOBUS_COMPUTE_CLIENT_SECRET="wrong")
    assert refused.returncode != 0
    assert "is no API token of this service" in refused.stdout + refused.stderr


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
