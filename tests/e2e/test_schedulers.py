"""Endpoints whose nodes come from PBS, LSF and Kubernetes: the real binary, and a scheduler made here
that speaks their commands."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import bursa
import pytest
from conftest import BINARY, Stack, environment, run_cli, running, wait_for, with_role

FAKES = Path(__file__).parent / "schedulers"
COMMANDS = {
    "pbs": ["qsub", "qselect", "qstat", "qdel"],
    "lsf": ["bsub", "bjobs", "bkill", "bqueues"],
    "kubernetes": ["kubectl"],
}
SUBMIT = {"pbs": "qsub", "lsf": "bsub", "kubernetes": "kubectl create"}
HOLD = {
    "pbs": "PBS job 1.fake is queued: Not Running: no cores",
    "lsf": "LSF job 1 is pending: no cores",
    "kubernetes": "-0 is pending: Unschedulable: no cores",
}
SETTINGS = """\
[endpoint]
workers = 2

[blocks]
provider = "PROVIDER"
interface = "lo"
idle_ms = 300
"""
PODS = """
[kubernetes]
image = "lab/bursa:1"
"""


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


class Cluster:
    """An endpoint and the scheduler that gives it blocks."""

    def __init__(self, stack: Stack, provider: str, directory: Path) -> None:
        self.stack, self.provider, self.state = stack, provider, directory / "jobs"
        self.name = f"{provider}-{directory.name}".replace("[", "-").replace("]", "")[:60]
        programs, inside = directory / "bin", directory / "image"
        programs.mkdir()
        inside.mkdir()
        self.state.mkdir()
        for command in COMMANDS[provider]:
            shutil.copy(FAKES / ("kubectl.py" if command == "kubectl" else "fake.py"), programs / command)
        (inside / "bursa").symlink_to(Path(BINARY).resolve())
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        self.environment = environment(
            stack.home, FAKE_SCHEDULER=str(self.state), PATH=path, POD_PATH=f"{inside}:{os.environ['PATH']}"
        )
        made = self.command("endpoint", "new", self.name, "--provider", provider, "--json")
        self.endpoint_id = json.loads(made)["endpoint_id"]
        self.file = stack.home / "endpoints" / self.name / "endpoint.toml"
        self.written = self.file.read_text()
        settings = SETTINGS.replace("PROVIDER", provider)
        if provider == "kubernetes":
            # Pods keep the manager's address.
            settings = settings.replace("workers", f'listen = "127.0.0.1:{free_port()}"\nworkers') + PODS
        self.file.write_text(settings)

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
        return sum(line.startswith(f"{command} ") or line == command for line in lines)

    def secrets(self) -> list[str]:
        """What pods were handed and is still there."""
        directory = self.state / "secrets"
        return os.listdir(directory) if directory.exists() else []

    def alive(self) -> int:
        return sum(json.loads(path.read_text())["code"] is None for path in self.state.glob("*.json"))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("schedulers") / "home") as stack:
        yield stack


@pytest.fixture(params=list(COMMANDS))
def cluster(service: Stack, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(service, request.param, tmp_path)
    yield cluster
    cluster.command("endpoint", "stop", cluster.name)
    assert cluster.secrets() == [], "nothing is left of any block"


@pytest.fixture
def pods(service: Stack, tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(service, "kubernetes", tmp_path)
    yield cluster
    cluster.command("endpoint", "stop", cluster.name)
    assert cluster.secrets() == []


def test_blocks_come_with_calls_and_go_without(service: Stack, cluster: Cluster) -> None:
    cluster.start()
    submit = SUBMIT[cluster.provider]
    with bursa.Client(service.url, service.token) as client:
        assert cluster.calls(submit) == 0
        futures = [client.run(pow, 2, n, endpoint_id=cluster.endpoint_id) for n in range(200)]
        assert [future.result(60) for future in futures] == [2**n for n in range(200)]
        assert cluster.calls(submit) == 1
        wait_for(lambda: cluster.alive() == 0, 30, "the end of the idle block")
        assert client.run(pow, 2, 10, endpoint_id=cluster.endpoint_id).result(60) == 1024
        assert cluster.calls(submit) == 2


def test_a_call_that_no_block_has_the_time_for_is_refused(service: Stack, cluster: Cluster) -> None:
    cluster.start()
    with bursa.Client(service.url, service.token) as client:
        future = client.submit(pow, (2, 10), endpoint_id=cluster.endpoint_id, timeout=7_200)
        with pytest.raises(bursa.TaskFailed, match="at most 3597 s of a walltime of 3600 s") as caught:
            future.result(60)
        assert caught.value.code == "unsatisfiable"
        assert client.submit(pow, (2, 10), endpoint_id=cluster.endpoint_id, timeout=3_000).result(60) == 1024


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
    assert cluster.calls(SUBMIT[cluster.provider]) == 1


def test_a_job_that_was_asked_for_by_a_manager_killed_right_then_is_found(
    service: Stack, cluster: Cluster
) -> None:
    """Its number was never heard: only its name says whose it is."""
    (cluster.state / "fatal").touch()
    cluster.start()
    with bursa.Client(service.url, service.token) as client:
        assert client.run(pow, 2, 10, endpoint_id=cluster.endpoint_id).result(60) == 1024
    assert not (cluster.state / "fatal").exists(), "the manager was killed"
    assert cluster.calls(SUBMIT[cluster.provider]) == 1


def test_a_stop_leaves_a_slow_scheduler_its_time(service: Stack, cluster: Cluster) -> None:
    (cluster.state / "hold").write_text("no cores")
    cluster.start()
    with bursa.Client(service.url, service.token) as client:
        future = client.run(pow, 2, 10, endpoint_id=cluster.endpoint_id)
        wait_for(lambda: cluster.alive() == 1, 60, "a job that waits")
        (cluster.state / "slow").write_text("6")
        cluster.command("endpoint", "stop", cluster.name)
        assert cluster.alive() == 0
        future.cancel()


def test_a_new_endpoint_has_its_settings_explained(cluster: Cluster) -> None:
    assert f'\nprovider = "{cluster.provider}"\n' in cluster.written
    assert any(queue in cluster.written for queue in ("normal", "workq", "lab   lab"))
    for key in ("workers", "walltime", "nodes_per_block"):
        assert re.search(rf"^# \S.*\n# {key} = ", cluster.written, re.M), cluster.written
    # Every default as it stands there is a value that its key can have.
    written = re.sub(r"^# (\w+ = )", r"\1", cluster.written, flags=re.M)
    # But for the one that nobody can know.
    cluster.file.write_text(written.replace('image = ""', 'image = "lab/bursa:1"'))
    shown = json.loads(cluster.command("config", "show", "--endpoint", cluster.name, "--json"))["keys"]
    assert shown["blocks.walltime"]["source"].startswith(f"{cluster.file}:")
    plan = cluster.command("endpoint", "plan", cluster.name)
    assert f"executor --endpoint {cluster.name}" in plan


def test_a_pod_that_fails_says_what_it_said_last(service: Stack, pods: Cluster) -> None:
    settings = pods.file.read_text()
    broken = settings.replace("idle_ms", 'worker_init = "echo no module of this name >&2; exit 3"\nidle_ms')
    pods.file.write_text(broken)
    pods.start()
    with bursa.Client(service.url, service.token) as client:
        future = client.run(pow, 2, 10, endpoint_id=pods.endpoint_id)
        told = "ended as Failed with exit code 3 (Error: no module of this name)"
        wait_for(lambda: told in str(future.explain()), 60, "the pod's last words")
        future.cancel()


def test_a_check_does_not_take_this_host_for_a_pod(pods: Cluster) -> None:
    checks = json.loads(pods.command("endpoint", "check", pods.name, "--json"))["checks"]
    found = {check["what"]: check["found"] for check in checks}
    assert "image" in found["python"] and "kubectl" in found["scheduler"]
    assert not {"sandbox", "podman", "containers"} & set(found)


def test_keys_of_pods_are_in_their_secret_alone(service: Stack, pods: Cluster) -> None:
    settings = pods.file.read_text()
    pods.file.write_text(settings.replace("idle_ms = 300", "idle_ms = 60000\nnodes_per_block = 2"))
    pods.start()
    with bursa.Client(service.url, service.token) as client:
        assert client.run(pow, 2, 10, endpoint_id=pods.endpoint_id).result(60) == 1024
        wait_for(lambda: client.endpoint_status(pods.endpoint_id)["slots_total"] == 4, 60, "both pods")
    (name,) = pods.secrets()
    handed = {path.name: path.read_text() for path in (pods.state / "secrets" / name).iterdir()}
    keys = [text for file, text in handed.items() if file.endswith(".key")]
    assert len(keys) == 2 and {"endpoint.json", "manager.json"} < set(handed)
    told = (pods.state / "calls").read_text()
    told += "".join(path.read_text() for path in pods.state.glob("*.json"))
    secrets = [word for key in keys for word in key.split() if len(word) >= 40]
    assert secrets and not any(word in told for word in secrets)
    held = [list(pod.glob("*/*.key")) for pod in (pods.state / "pods").iterdir()]
    assert [len(keys) for keys in held] == [1, 1], "a pod sees no key but its own"


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


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_wrong_setting_is_told_by_a_start_in_the_background_as_by_any_other(
    service: Stack, flags: tuple[str, ...]
) -> None:
    run_cli(service.home, "endpoint", "new", "background")
    file = service.home / "endpoints/background/endpoint.toml"
    file.write_text('[blocks]\nwalltime = "soon"\n')
    told = [
        run_cli(service.home, "endpoint", "start", "background", *how, *flags) for how in ((), ("--detach",))
    ]
    assert [refused.returncode for refused in told] == [78, 78], told
    here, there = (refused.stderr.strip() for refused in told)
    if flags:
        here, there = (json.loads(text)["error"]["message"] for text in (here, there))
    assert "blocks.walltime" in here and there.startswith(f"{here}; see "), told


def test_settings_that_are_there_stay(service: Stack) -> None:
    directory = service.home / "endpoints/kept"
    directory.mkdir(mode=0o700)
    (directory / "endpoint.toml").write_text("[blocks]\nmax = 7\n")
    made = run_cli(service.home, "endpoint", "new", "kept", "--provider", "pbs")
    assert "were there already, and stay as they are" in made.stdout, made.stderr
    assert (directory / "endpoint.toml").read_text() == "[blocks]\nmax = 7\n"
