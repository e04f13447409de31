"""The real `globus-compute-endpoint` as an endpoint of this service, and what befalls it."""

from __future__ import annotations

import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import bursa
import pytest
from conftest import e2e, python_of
from official import NAME, PROGRAM_S, START_S, STOP_S, Service, Site, cut, said

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
# The nodes are two names in a file, and the launcher says how it was called.
MPI = """
engine:
  type: GlobusMPIEngine
  address: 127.0.0.1
  mpi_launcher: mpiexec
  max_workers_per_block: 2
  provider:
    type: LocalProvider
    init_blocks: 1
    max_blocks: 1
    launcher:
      type: SimpleLauncher
    worker_init: "export PBS_NODEFILE={home}/nodes PATH={home}:$PATH"
heartbeat_period: 5
"""
# Before version 4 an endpoint could be its own user endpoint.
ALONE = """
display_name: a site
detach_endpoint: false
engine:
  type: ThreadPoolEngine
  max_workers: 4
heartbeat_period: 5
"""
everything = pytest.mark.skipif("COMPAT_ALL" not in os.environ, reason="only in `make compat-all`")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("service") / "home")
    service.start()
    yield service
    service.end(signal.SIGTERM)


@pytest.fixture
def site(service: Service, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    """Of the newest version, or of the one that the test is given."""
    package = getattr(request, "param", "endpoint-4")
    site = Site(service, tmp_path / "site", python_of(package))
    site.home.mkdir()
    assert site.command("configure", NAME).returncode == 0
    if package == "endpoint-4":
        site.configure(TEMPLATE.format(engine="ThreadPoolEngine", workers=4))
    else:
        site.write("config.yaml", ALONE)
    yield site
    site.end()


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
    assert heard["walltime"] == [124, "subprocess.TimeoutExpired"]
    assert "== Compute Endpoint worker ==" in heard["hardware"]
    assert heard["status"] == "online"
    # All of it is in the store: another process finds it there.
    assert site.run("reload", heard["group"]) == {"count": 67, "failed": 2}


@pytest.mark.parametrize("site", ["endpoint-3", pytest.param("endpoint-2", marks=everything)], indirect=True)
def test_earlier_versions(site: Site, tmp_path: Path) -> None:
    first = site.start()
    heard = site.run("all")
    assert (heard["one"], heard["many"]) == (42, [2 * n for n in range(60)])
    assert (heard["shell"], heard["walltime"][0]) == ("heard\n", 124)
    site.stop()
    assert site.start() == first
    program = site.program("wait", str(tmp_path / "now"))
    e2e.wait_for((tmp_path / "now").exists, PROGRAM_S, "a first result")
    site.kill()
    (site.directory / "daemon.pid").unlink(missing_ok=True)
    site.start()
    assert said(program) == {"got": list(range(8))}


@everything
def test_calls_of_workers_on_nodes(site: Site, tmp_path: Path) -> None:
    site.configure(PARSL)
    site.start()
    assert site.run("one") == {"one": 8}
    program = site.program("wait", str(tmp_path / "now"))
    e2e.wait_for((tmp_path / "now").exists, PROGRAM_S, "a first result")
    (pid,) = site.user_endpoints()
    os.kill(pid, signal.SIGKILL)
    assert said(program) == {"got": list(range(8))}


@everything
def test_programs_on_nodes(site: Site) -> None:
    (site.home / "nodes").write_text("one\ntwo\n")
    launcher = site.home / "mpiexec"
    launcher.write_text('#!/bin/sh\nprintf "%s\\n" "$*"\n')
    launcher.chmod(0o755)
    site.configure(MPI.format(home=site.home))
    site.start()
    assert site.run("mpi") == {"mpi": "-n 4 -ppn 2 -hosts one,two hello\n"}


def test_a_limit_of_time_is_the_endpoint_s(site: Site) -> None:
    site.configure(TEMPLATE.format(engine="ProcessPoolEngine", workers=1))
    site.write("user_environment.yaml", "GC_TASK_TIMEOUT: '2'\n")
    site.start()
    assert "AppTimeout" in site.run("endless")["error"]


def test_options_make_another_user_endpoint(site: Site) -> None:
    site.start()
    assert site.run("config", "1")["got"] == [0, 1, 2, 3]
    assert site.run("config", "4")["got"] == [0, 1, 2, 3]
    assert len(site.user_endpoints()) == 2
    with bursa.Client(site.service.url, site.service.token) as client:
        e2e.wait_for(lambda: client.endpoint_status(site.id)["slots_total"] == 5, START_S, "reports of both")


def test_stop_start_restart_and_delete(site: Site) -> None:
    first = site.start()
    assert site.run("one") == {"one": 8}
    site.stop()
    assert site.start() == first
    assert site.run("one") == {"one": 8}
    site.restart()
    assert (site.id, site.run("one")) == (first, {"one": 8})
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
    site.process.wait(timeout=STOP_S)
    e2e.wait_for(lambda: site.status() == "offline", STOP_S, "the endpoint offline")
    assert site.start() == first
    assert site.run("one") == {"one": 8}


def test_a_killed_user_endpoint_loses_nothing(site: Site, tmp_path: Path) -> None:
    site.start()
    program = site.program("wait", str(tmp_path / "now"))
    e2e.wait_for((tmp_path / "now").exists, PROGRAM_S, "a first result")
    (pid,) = site.user_endpoints()
    os.kill(pid, signal.SIGKILL)
    assert said(program) == {"got": list(range(8))}


def test_a_killed_endpoint_loses_nothing(site: Site, tmp_path: Path) -> None:
    site.start()
    program = site.program("wait", str(tmp_path / "now"))
    e2e.wait_for((tmp_path / "now").exists, PROGRAM_S, "a first result")
    site.kill()
    (site.home / ".globus_compute" / NAME / "daemon.pid").unlink()
    e2e.wait_for(lambda: site.status() == "offline", STOP_S, "the endpoint offline")
    site.start()
    assert said(program) == {"got": list(range(8))}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_of_the_service_loses_nothing(site: Site, tmp_path: Path, number: int) -> None:
    site.start()
    program = site.program("wait", str(tmp_path / "now"))
    e2e.wait_for((tmp_path / "now").exists, PROGRAM_S, "a first result")
    site.service.end(number)
    site.service.start()
    assert said(program) == {"got": list(range(8))}
    assert site.status() == "online"


def test_connections_that_break_lose_nothing(site: Site, tmp_path: Path) -> None:
    site.start()
    program = site.program("wait", str(tmp_path / "now"))
    e2e.wait_for((tmp_path / "now").exists, PROGRAM_S, "a first result")
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
        client.run(abs, -1, endpoint_id=site.id).result(timeout=START_S)


def test_a_wrong_secret_is_told(site: Site) -> None:
    refused = site.command("start", NAME, GLOBUS_COMPUTE_CLIENT_SECRET="wrong")
    assert refused.returncode != 0
    assert "is no API token of this service" in refused.stdout + refused.stderr
