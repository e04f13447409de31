"""Containers really run: in images made here, by the programs that are installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import bursa
import pytest
import rootfs
from conftest import ROOT, Stack, run_cli, running, wait_for, with_role

PROGRAMS = {"bwrap": "bwrap", "charliecloud": "ch-run", "podman": "podman", "custom": "env"}
IMAGE = "localhost/bursa/test:1"


def missing(kind: str) -> str | None:
    """Why containers of this kind cannot run here."""
    if shutil.which(PROGRAMS[kind]) is None:
        if os.environ.get("CI") == "true":
            raise RuntimeError(f"{PROGRAMS[kind]} is missing: .ci/run installs it")
        return f"{PROGRAMS[kind]} is not installed"
    if kind == "podman" and os.geteuid() != 0:
        return "podman is tested as root"
    return None


class World(NamedTuple):
    """An endpoint, and containers there by kind."""

    stack: Stack
    client: bursa.Client
    containers: dict[str, str]
    podman: dict[str, str]
    images: Path


def podman_settings(base: Path) -> dict[str, str]:
    """A podman whose images and containers are the test's own."""
    runtime = "runc" if shutil.which("runc") else "crun"
    (base / "containers.conf").write_text(
        "[containers]\ndefault_ulimits=[]\n"
        f'[engine]\ncgroup_manager="cgroupfs"\nevents_logger="file"\nruntime="{runtime}"\n'
    )
    (base / "storage.conf").write_text(
        f'[storage]\ndriver="overlay"\ngraphroot="{base}/graph"\nrunroot="{base}/run"\n'
    )
    return {
        "CONTAINERS_CONF": str(base / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(base / "storage.conf"),
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    base = tmp_path_factory.mktemp("runtimes")
    images = base / "images"
    rootfs.make(images / "py", "from the image")
    # Charliecloud mounts what is granted only where the image has a place for it.
    (images / "py" / (ROOT / "docs").relative_to("/")).mkdir(parents=True)
    rootfs.make(images / "none", "no Python", python=False)
    podman = podman_settings(base)
    if missing("podman") is None:
        archive = subprocess.Popen(["tar", "-C", str(images / "py"), "-c", "."], stdout=subprocess.PIPE)
        subprocess.run(
            ["podman", "import", "-q", "-", IMAGE],
            stdin=archive.stdout,
            env={**os.environ, **podman},
            check=True,
            capture_output=True,
        )
    more = {
        "BURSA_CONTAINERS_IMAGES": str(images),
        "BURSA_CONTAINERS_RUNTIME": "charliecloud",
        "BURSA_CONTAINERS_CUSTOM": "env IMAGE={image} {command}",
        "BURSA_SANDBOX_PIDS": "256",
        "USER": os.environ.get("USER", "root"),
        **podman,
    }
    places = {"bwrap": images / "py", "charliecloud": images / "py", "podman": IMAGE, "custom": "mine"}
    (base / "one").mkdir()
    with running(base / "one" / "home", **more) as stack:
        client = stack.client()
        made = {kind: client.register_container(str(place), type=kind) for kind, place in places.items()}
        yield World(stack, client, made, podman, images)
    if missing("podman") is None:
        subprocess.run(["umount", str(base / "graph/overlay")], capture_output=True, check=False)


def look() -> dict[str, object]:
    marker = os.environ.get("IMAGE")
    if os.path.exists("/etc/marker"):
        with open("/etc/marker") as file:
            marker = file.read()
    return {
        "marker": marker,
        "pid": os.getpid(),
        "cwd": os.getcwd(),
        "names": sorted(os.environ),
        "home": os.path.exists("/root/.bashrc") or os.path.exists("/root/.profile"),
    }


def leave_and_die() -> None:
    subprocess.Popen(["/bin/sh", "-c", "while :; do read x </dev/zero; done"], start_new_session=True)
    os.kill(os.getpid(), signal.SIGKILL)


def others() -> list[str]:
    lines = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    lines.append(file.read().replace(b"\0", b" ").decode())
            except OSError:  # it ended just now
                continue
    return [line for line in lines if "while :" in line]


def call(world: World, kind: str, function: object, *args: object, **how: object) -> bursa.Future:
    where = {"endpoint_id": world.stack.endpoint_id, "container": world.containers[kind]}
    return world.client.submit(function, list(args), **where, **how)


kinds = pytest.mark.parametrize("kind", list(PROGRAMS))


@kinds
def test_a_function_runs_in_its_container(world: World, kind: str) -> None:
    if why := missing(kind):
        pytest.skip(why)
    first = call(world, kind, look)
    found = first.result(60)
    assert found["marker"] == ("mine" if kind == "custom" else "from the image")
    assert found["cwd"] == ("/run/task" if kind == "bwrap" else "/tmp")
    assert not [name for name in found["names"] if name.startswith("BURSA_") or "TOKEN" in name]
    if kind != "custom":
        assert not found["home"], "the host's files are not there"
    assert call(world, kind, look).result(60)["pid"] == found["pid"], "the container is warm"


@kinds
def test_a_dead_worker_takes_all_along_and_the_next_comes_in_its_container(world: World, kind: str) -> None:
    if why := missing(kind):
        pytest.skip(why)
    with pytest.raises(bursa.TaskFailed) as failed:
        call(world, kind, leave_and_die, retries=0).result(60)
    assert failed.value.code == "worker-died"
    # What is killed is gone when the system comes to it.
    wait_for(lambda: call(world, kind, others).result(60) == [], 30, "the end of what the dead worker left")


def test_podman_holds_the_limits_and_leaves_nothing(world: World) -> None:
    if why := missing("podman"):
        pytest.skip(why)

    def limits() -> tuple[str, str, bool]:
        with open("/proc/self/status") as file:
            lines = file.read().splitlines()
        capabilities, no_new = (
            line.split("\t")[1] for line in lines if line.startswith(("CapEff", "NoNewPrivs"))
        )
        return capabilities, no_new, os.access("/usr", os.W_OK) and os.access("/etc", os.W_OK)

    assert call(world, "podman", limits).result(60) == ("0000000000000000", "1", False)
    command = ["podman", "ps", "-aq"]
    env = {**os.environ, **world.podman}

    def containers() -> list[str]:
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.split()

    assert containers()
    for executor in with_role(world.stack.pid, "executor"):
        os.kill(executor, signal.SIGKILL)
    wait_for(lambda: not containers(), 30, "the end of the dead executor's containers")
    assert call(world, "podman", look).result(60)["marker"] == "from the image"


def test_an_image_without_python_is_told_with_its_own_words(world: World) -> None:
    if why := missing("bwrap"):
        pytest.skip(why)
    container = world.client.register_container(str(world.images / "none"), type="bwrap")
    world.containers["none"] = container
    with pytest.raises(bursa.TaskFailed, match="python3: No such file") as failed:
        call(world, "none", look).result(120)
    assert failed.value.code == "environment-failed"


def test_images_come_from_where_the_owner_says(world: World) -> None:
    if why := missing("bwrap"):
        pytest.skip(why)
    world.containers["host"] = world.client.register_container("/", type="bwrap")
    with pytest.raises(bursa.TaskFailed, match=r"containers\.images"):
        call(world, "host", look).result(120)


def test_endpoint_check_lists_them(world: World) -> None:
    shown = run_cli(world.stack.home, "endpoint", "check")
    for kind, program in PROGRAMS.items():
        if kind != "custom" and shutil.which(program):
            assert f"{kind} " in shown.stdout and f"/{program} says" in shown.stdout, shown.stdout
    assert "containers    of kind" in shown.stdout


@kinds
def test_secrets_are_in_the_environment_of_their_calls(world: World, kind: str) -> None:
    if why := missing(kind):
        pytest.skip(why)

    def spill() -> int:
        print(os.environ["TOKEN"])
        os.write(1, os.environ["TOKEN"].encode())
        return len(os.environ["TOKEN"])

    world.client.set_secret("TOKEN", "correct-horse", functions=[spill])
    call = world.client.submit(spill, container=world.containers[kind])
    assert call.result(120) == len("correct-horse")
    assert world.client.task(call)["output"] == b"***\n***"
    assert "TOKEN" not in world.client.submit(look, container=world.containers[kind]).result(120)["names"]
