"""Shell functions, run here: what they return, and what their walltime ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bursa import Invalid, ShellFunction, ShellResult, quote
from bursa.serialize import PLAIN, dumps, loads, loads_data


def test_output_and_return_code_come_back() -> None:
    run = ShellFunction("echo {x}; echo low >&2; exit 3")
    cmd = "echo 'a  b; c'; echo low >&2; exit 3"
    assert run(x=quote("a  b; c")) == ShellResult(cmd, "a  b; c\n", "low\n", 3)


def test_only_the_last_lines_come_back() -> None:
    assert ShellFunction("seq 1000", snippet_lines=2)().stdout == "999\n1000\n"
    assert ShellFunction("seq 1000", snippet_lines=0)().stdout == ""
    assert len(ShellFunction("head -c 5000000 /dev/zero | tr '\\0' x")().stdout) == 1 << 20


def test_files_of_the_users_choice_keep_everything(tmp_path: Path) -> None:
    run = ShellFunction("seq {n}; ls /nowhere", stdout=str(tmp_path / "out"), stderr=str(tmp_path / "err"))
    result = run(n=5000)
    assert (tmp_path / "out").read_text().count("\n") == 5000
    assert result.stdout.count("\n") == 1000
    assert result.stderr == (tmp_path / "err").read_text() != ""


def test_a_walltime_ends_all_that_was_started() -> None:
    result = ShellFunction("sleep 600 & echo $! $$; wait", walltime=0.3)()
    assert result.returncode == 124
    for pid in map(int, result.stdout.split()):
        assert not _is_running(pid)


def _is_running(pid: int) -> bool:
    """A killed child of a killed shell may still wait for init to reap it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_one_that_ends_in_time_keeps_its_code() -> None:
    assert ShellFunction("exit 7", walltime=60)().returncode == 7
    assert ShellFunction("kill -TERM $$", walltime=60)().returncode == -15


@pytest.mark.parametrize(
    ("cmd", "given"), [("echo {x}", {}), ("echo {}", {}), ("awk '{print $1}'", {}), ("echo {x.y}", {"x": 1})]
)
def test_a_command_that_cannot_be_filled_in_says_what_is_missing(cmd: str, given: dict[str, int]) -> None:
    with pytest.raises(Invalid, match="cannot be filled in"):
        ShellFunction(cmd)(**given)


@pytest.mark.parametrize(
    "options",
    [
        {"cmd": ""},
        {"cmd": 3},
        {"cmd": "x", "walltime": 0},
        {"cmd": "x", "walltime": True},
        {"cmd": "x", "snippet_lines": -1},
        {"cmd": "x", "snippet_lines": 1.5},
    ],
)
def test_options_are_checked(options: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        ShellFunction(**options)  # type: ignore[arg-type]


def test_a_result_is_plain_data() -> None:
    result = ShellFunction("echo $PWD")()
    payload = dumps(result)
    assert payload.startswith(PLAIN)
    assert loads(payload) == loads_data(payload) == result
    assert str(result) == os.getcwd() + "\n"
