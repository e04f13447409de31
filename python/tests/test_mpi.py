"""MPI functions, run here with a launcher of the test's own: what they run, and how they end their ranks."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from bursa import Invalid, MPIFunction, ShellResult
from bursa.source import dumps_function, loads_function

# Writes down that it was told to end, as a launcher tells its ranks, and ends a moment later.
LAUNCHER = """#!/bin/bash
trap 'echo told >> "$0.log"; /bin/sleep 0.1; echo ended >> "$0.log"; exit 1' TERM
"$@" & wait $!
"""


@pytest.fixture
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "launch"
    path.write_text(LAUNCHER)
    path.chmod(0o755)
    monkeypatch.setenv("BURSA_MPI_PREFIX", str(path))
    return path


def test_the_command_is_started_by_the_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURSA_MPI_PREFIX", "env RANKS=4")
    run = MPIFunction("sh -c 'echo $RANKS {x}; exit 3'")
    assert run(x=7) == ShellResult("$BURSA_MPI_PREFIX sh -c 'echo $RANKS 7; exit 3'", "4 7\n", "", 3)


def test_without_nodes_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BURSA_MPI_PREFIX", raising=False)
    with pytest.raises(Invalid, match="was given no nodes"):
        MPIFunction("true")()


def test_what_it_asks_for() -> None:
    asks = [
        MPIFunction("x").__resources__,
        MPIFunction("x", resource_specification={"num_nodes": 2, "num_ranks": 8}).__resources__,
    ]
    assert asks == [{"nodes": 1}, {"nodes": 2, "ranks_per_node": 4}]
    with pytest.raises(Invalid, match="ones that agree"):
        MPIFunction("x", resource_specification={"num_nodes": 2, "num_ranks": 8, "ranks_per_node": 3})


def test_it_travels_as_what_makes_it() -> None:
    sent = MPIFunction("run {x}", resource_specification={"num_nodes": 2}, walltime=3, name="simulate")
    got = loads_function(dumps_function(sent))
    assert isinstance(got, MPIFunction) and got._options() == sent._options()


def test_a_walltime_tells_the_launcher_and_waits_for_its_end(launcher: Path) -> None:
    result = MPIFunction("sleep 600", walltime=0.3)()
    assert result.returncode == 124
    assert Path(f"{launcher}.log").read_text() == "told\nended\n"


def test_a_launcher_that_does_not_end_is_killed(launcher: Path) -> None:
    launcher.write_text("#!/bin/bash\ntrap '' TERM\nsleep 600\n")
    begun = time.monotonic()
    assert MPIFunction("true", walltime=0.1)().returncode == 124
    assert time.monotonic() - begun < 60


def test_a_process_that_is_ended_ends_its_launcher_first(launcher: Path) -> None:
    pid = os.fork()
    if pid == 0:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
        MPIFunction("sleep 600")()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 143
    assert Path(f"{launcher}.log").read_text() == "told\nended\n"
