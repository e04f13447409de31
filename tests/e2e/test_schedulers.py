"""Endpoints whose nodes come from PBS and LSF: the real binary, and a scheduler made here
that speaks their commands."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import bursa
import pytest
from conftest import BINARY, Stack, environment, run_cli, running, wait_for, with_role

FAKE = Path(__file__).parent / "schedulers/fake.py"
COMMANDS = {"pbs": ["qsub", "qselect", "qstat", "qdel"], "lsf": ["bsub", "bjobs", "bkill", "bqueues"]}
HOLD = {"pbs": "PBS job 1.fake is queued: Not Running: no cores", "lsf": "LSF job 1 is pending: no cores"}
SETTINGS = """\
[endpoint]
workers = 2

[blocks]
provider = "PROVIDER"
interface = "lo"
idle_ms = 300
"""


class Cluster:
    """An endpoint and the scheduler that gives it blocks."""

    def __init__(self, stack: Stack, provider: str, directory: Path) -> None:
        self.stack, self.provider, self.state = stack, provider, directory / "jobs"
        self.name = f"{provider}-{directory.name}".replace("[", "-").replace("]", "")[:60]
        programs = directory / "bin"
        programs.mkdir()
        self.state.mkdir()
        for command in COMMANDS[provider]:
            shutil.copy(FAKE, programs / command)
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        self.environment = environment(stack.home, FAKE_SCHEDULER=str(self.state), PATH=path)
        made = self.command("endpoint", "new", self.name, "--provider", provider, "--json")
        self.endpoint_id = json.loads(made)["endpoint_id"]
        self.file = stack.home / "endpoints" / self.name / "endpoint.toml"
        self.written = self.file.read_text()
        self.file.write_text(SETTINGS.replace("PROVIDER", provider))

    def command(self, *words: str) -> str:
        done = subprocess.run(
            [BINARY, *words], env=self.environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self) -> int:
        return int(json.loads(self.command("endpoint", "start", self.name, "--detach", "--json"))["pid"])

    def calls(self, command: str) -> int:
        calls = self.state / "calls"
        lines = calls.read_text().splitlines() if calls.exists() else []
        return sum(line.split()[0] == command for line in lines)

    def alive(self) -> int:
        return sum(json.loads(path.read_text())["code"] is None for path in self.state.glob("*.json"))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("schedulers") / "home") as stack:
        yield stack


@pytest.fixture(params=["pbs", "lsf"])
def cluster(service: Stack, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(service, request.param, tmp_path)
    yield cluster
    cluster.command("endpoint", "stop", cluster.name)


def test_blocks_come_with_calls_and_go_without(service: Stack, cluster: Cluster) -> None:
    cluster.start()
    submit = COMMANDS[cluster.provider][0]
    with bursa.Client(service.url, service.token) as client:
        assert cluster.calls(submit) == 0
        futures = [client.run(pow, 2, n, endpoint_id=cluster.endpoint_id) for n in range(200)]
        assert [future.result(60) for future in futures] == [2**n for n in range(200)]
        assert cluster.calls(submit) == 1
        wait_for(lambda: cluster.alive() == 0, 30, "the end of the idle block")
        assert client.run(pow, 2, 10, endpoint_id=cluster.endpoint_id).result(60) == 1024
        assert cluster.calls(submit) == 2


def test_what_a_block_waits_for_is_told(service: Stack, cluster: Cluster) -> None:
    (cluster.state / "hold").write_text("no cores")
    cluster.start()
    with bursa.Client(service.url, service.token) as client:
        future = client.run(pow, 2, 10, endpoint_id=cluster.endpoint_id)
        wait_for(lambda: HOLD[cluster.provider] in str(future.explain()), 60, "the scheduler's reason")
        (cluster.state / "hold").unlink()
        assert future.result(60) == 1024


def test_a_refused_job_says_why(service: Stack, cluster: Cluster) -> None:
    (cluster.state / "refuse").write_text("account lab has no hours left")
    cluster.start()
    with bursa.Client(service.url, service.token) as client:
        future = client.run(pow, 2, 10, endpoint_id=cluster.endpoint_id)
        wait_for(
            lambda: "account lab has no hours left" in str(future.explain()), 60, "the scheduler's words"
        )
        (cluster.state / "refuse").unlink()
        assert future.result(90) == 1024


def test_a_killed_manager_finds_its_block_again(service: Stack, cluster: Cluster) -> None:
    cluster.file.write_text(cluster.file.read_text().replace("idle_ms = 300", "idle_ms = 60000"))
    watchdog = cluster.start()
    with bursa.Client(service.url, service.token) as client:
        assert client.run(pow, 2, 10, endpoint_id=cluster.endpoint_id).result(60) == 1024
        (manager,) = with_role(watchdog, "manager")
        os.kill(manager, signal.SIGKILL)
        assert client.run(pow, 2, 11, endpoint_id=cluster.endpoint_id).result(60) == 2048
    assert cluster.calls(COMMANDS[cluster.provider][0]) == 1


def test_a_new_endpoint_has_its_settings_explained(cluster: Cluster) -> None:
    assert f'\nprovider = "{cluster.provider}"\n' in cluster.written
    assert "normal" in cluster.written or "workq" in cluster.written
    for key in ("workers", "walltime", "nodes_per_block"):
        assert re.search(rf"^# \S.*\n# {key} = ", cluster.written, re.M), cluster.written
    # Every default as it stands there is a value that its key can have.
    cluster.file.write_text(re.sub(r"^# (\w+ = )", r"\1", cluster.written, flags=re.M))
    shown = json.loads(cluster.command("config", "show", "--endpoint", cluster.name, "--json"))["keys"]
    assert shown["blocks.walltime"]["source"].startswith(f"{cluster.file}:")
    plan = cluster.command("endpoint", "plan", cluster.name)
    assert f"executor --endpoint {cluster.name}" in plan


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ('[blocks]\nwalltime = "soon"\n', "blocks.walltime = 'soon' (from FILE:2) is not valid"),
        ('[endpoint]\n\n[service]\nhttp = "x:1"\n', "FILE:4: service.http is the service's"),
        ("[blocks]\nqueue = 1\n", "FILE:2: there is no key 'blocks.queue'"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_line(service: Stack, wrong: str, why: str) -> None:
    file = service.home / "endpoints/local/endpoint.toml"
    file.write_text(wrong)
    refused = run_cli(service.home, "endpoint", "plan", "local")
    file.unlink()
    assert refused.returncode == 78, refused
    assert why.replace("FILE", str(file)) in refused.stderr


def test_settings_that_are_there_stay(service: Stack) -> None:
    directory = service.home / "endpoints/kept"
    directory.mkdir(mode=0o700)
    (directory / "endpoint.toml").write_text("[blocks]\nmax = 7\n")
    made = run_cli(service.home, "endpoint", "new", "kept", "--provider", "pbs")
    assert "were there already, and stay as they are" in made.stdout, made.stderr
    assert (directory / "endpoint.toml").read_text() == "[blocks]\nmax = 7\n"
