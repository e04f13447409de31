"""`bursa endpoint check`: what is wrong with an endpoint, a sentence for each, and a call of its own."""

from __future__ import annotations

import email.utils
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from conftest import Stack, alive, descendants, run_cli, running


def checked(home: Path, *flags: str, **more: str) -> tuple[int, dict[str, dict]]:
    """Its exit code, and what was found by what it is about."""
    done = run_cli(home, "--json", "endpoint", "check", *flags, **more)
    items = json.loads(done.stdout)["checks"]
    assert all(set(item) == {"what", "ok", "found"} for item in items)
    assert len({item["what"] for item in items}) == len(items)
    return done.returncode, {item["what"]: item for item in items}


def wrong(found: dict[str, dict]) -> dict[str, str]:
    return {what: item["found"] for what, item in found.items() if not item["ok"]}


def without_service(home: Path, *flags: str, **more: str) -> tuple[int, dict[str, str]]:
    code, found = checked(home, "--no-call", *flags, **more)
    return code, wrong(found)


def test_a_good_endpoint_that_runs_is_called(stack: Stack) -> None:
    code, found = checked(stack.home)
    assert code == 0, found
    for what in ("python", "home", "service", "clock", "token", "link", "endpoint", "call"):
        assert found[what]["ok"], found[what]
    assert "a call ran on" in found["call"]["found"] and "for this check" not in found["call"]["found"]
    lines = run_cli(stack.home, "endpoint", "check").stdout.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("ok")][-1] == "call"


def test_one_that_does_not_run_is_started_for_the_call_and_leaves_nothing(tmp_path: Path) -> None:
    home, before = tmp_path / "home", descendants(1)
    code, found = checked(home, BURSA_SANDBOX_PIDS="2000", BURSA_BLOCKS_MAX="3")
    assert code == 0, found
    assert "for this check only" in found["call"]["found"]
    assert sorted(path.name for path in home.iterdir()) == ["lib"]
    left = {pid: line for pid, line in alive(descendants(1)).items() if str(home) in line}
    assert not left.keys() - before.keys()


def test_a_service_that_does_not_answer(tmp_path: Path) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        code, found = without_service(tmp_path / "home", BURSA_URL=url, BURSA_TOKEN="t")
    assert code == 1 and list(found) == ["service"], found
    assert f"no service answers at {url}" in found["service"]


def test_a_token_that_is_refused(stack: Stack) -> None:
    code, found = checked(stack.home, BURSA_TOKEN="wrong")
    assert code == 1 and "the service does not accept it" in wrong(found)["token"], found
    # The endpoint runs and cannot be asked: nothing of it is started a second time.
    assert "not tried" in wrong(found)["call"]


class Late(BaseHTTPRequestHandler):
    """A service of an hour ago."""

    def do_GET(self) -> None:
        body = json.dumps({"status": "ok", "name": "ada"}).encode()
        self.send_response_only(200)
        self.send_header("Date", email.utils.formatdate(time.time() - 3600, usegmt=True))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass


@contextmanager
def late_service() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Late) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_clock_that_is_wrong(tmp_path: Path) -> None:
    with late_service() as url:
        code, found = without_service(tmp_path / "home", BURSA_URL=url, BURSA_TOKEN="t")
    assert code == 1 and list(found) == ["clock"], found
    assert "3600 s behind" in found["clock"] or "3601 s behind" in found["clock"]


def test_a_python_that_is_missing_or_broken(tmp_path: Path) -> None:
    code, found = checked(tmp_path / "home", BURSA_PYTHON="/no/such/python")
    assert code == 1 and "No such file" in wrong(found)["python"], found
    assert "not tried" in wrong(found)["call"]
    code, found = checked(tmp_path / "home", BURSA_PYTHON=shutil.which("false") or "")
    assert code == 1 and "cannot run the workers" in wrong(found)["python"], found


def test_a_sandbox_that_must_be_and_is_not(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    code, found = checked(tmp_path / "home", PATH=str(empty), BURSA_SANDBOX_RUNTIME="bwrap")
    assert code == 1 and "not installed" in wrong(found)["sandbox"], found
    assert "the sandbox does not run here" in wrong(found)["call"], found


def test_a_scheduler_without_its_commands_or_with_another_partition(tmp_path: Path) -> None:
    code, found = without_service(tmp_path / "home", BURSA_PROVIDER="slurm", PATH=str(tmp_path))
    assert code == 1 and "sbatch and squeue and scancel of Slurm" in found["scheduler"], found
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("qsub", "qselect", "qdel", "qstat"):
        (programs / name).write_text(
            '#!/bin/sh\n[ "$2" = workq ] && echo workq && exit\necho "Unknown queue $2" >&2\nexit 170\n'
        )
        (programs / name).chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    set_to = {"BURSA_PROVIDER": "pbs", "PATH": path, "BURSA_BLOCKS_INTERFACE": "lo"}
    code, found = without_service(tmp_path / "home", **set_to, BURSA_BLOCKS_PARTITION="dreams")
    assert code == 1 and "PBS knows no partition dreams" in found["scheduler"], found
    assert "Unknown queue dreams" in found["scheduler"]
    code, found = without_service(tmp_path / "home", **set_to, BURSA_BLOCKS_PARTITION="workq")
    assert "scheduler" not in found


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, found = without_service(tmp_path / "home", BURSA_ENDPOINT_LISTEN=address)
    assert code == 1 and f"cannot listen on {address}" in found["port"], found


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small file system")
def test_a_disk_that_is_full(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "bursa-check", str(home)], check=True)
    try:
        code, found = without_service(home, BURSA_SANDBOX_RUNTIME="none")
        assert code == 1 and "MiB left, and results and logs need 64" in found["home"], found
        with (home / "filler").open("wb", 0) as filler, pytest.raises(OSError, match="No space"):
            while True:
                filler.write(bytes(1 << 16))
        code, found = without_service(home, BURSA_SANDBOX_RUNTIME="none")
        assert code == 1 and "cannot be written: No space left" in found["home"], found
    finally:
        subprocess.run(["umount", str(home)], check=True)


def test_status_says_whether_workers_are_in_a_sandbox(stack: Stack, tmp_path: Path) -> None:
    status = json.loads(run_cli(stack.home, "--json", "endpoint", "status", "local").stdout)
    assert status["sandbox"]["ok"] and status["sandbox"]["found"] == "functions run in a sandbox"
    with running(tmp_path / "home", "--sandbox", "none") as other:
        assert other.client().run(abs, -1).result(60) == 1
        shown = run_cli(other.home, "endpoint", "status", "local").stdout
        assert "without a sandbox" in shown and "sandbox.runtime is none" in shown
