"""Programs written for funcX and Globus Compute, unchanged."""

from __future__ import annotations

import os

import pytest
from conftest import Clients, e2e, python_of

SDKS = ["sdk-4", "sdk-3", "sdk-2"]
FUNCX = ["funcx-2", "funcx-1", "funcx-0"]


def said(lines: list[object]) -> dict[str, object]:
    return {name: value for line in lines for name, value in line.items()}


@pytest.mark.parametrize("clients", SDKS, indirect=True)
def test_client(clients: Clients) -> None:
    heard = said(clients.run("client.py"))
    assert heard["result"] == 42
    kind, text = heard["failed"]
    assert kind == "TaskExecutionFailed" and text.rstrip().endswith("ValueError: no 7")
    assert text.count('File "') == 1, "only the user's frames"
    assert heard["batch"] == heard["again"] == [10, 11, 12, 13, 14]
    assert heard["status"] == "online"
    assert heard["endpoints"] == [clients.stack.endpoint_id]
    assert heard["name"] == "local"
    kind, status, code = heard["unknown"]
    assert (status, code) == (404, "TASK_NOT_FOUND")


@pytest.mark.parametrize("clients", SDKS, indirect=True)
def test_executor(clients: Clients) -> None:
    heard = said(clients.run("executor.py"))
    assert heard["one"] == 42
    assert heard["many"] == [2 * n for n in range(200)]
    assert heard["text"] == "é漢é漢"
    assert heard["large"] == 9_000_000
    assert heard["reloaded"] == 204
    assert heard["failed"] == 1


@pytest.mark.parametrize("clients", FUNCX, indirect=True)
def test_funcx(clients: Clients) -> None:
    age = clients.name.removeprefix("funcx-")
    printed = clients.fill_store()
    # Of its search, which nothing here uses, globus-sdk knows the address in production only.
    more = {"GLOBUS_SDK_ENVIRONMENT": "production"} if age == "0" else {}
    heard = said(clients.run_with(clients.without_secrets(**{**printed, **more}), "funcx_client.py", age))
    assert heard["result"] == 42
    kind, text = heard["failed"]
    assert kind == {"0": "ValueError", "1": "FuncxTaskExecutionFailed", "2": "TaskExecutionFailed"}[age]
    assert "no 7" in text
    assert heard["batch"] == [10, 11, 12]
    assert heard["status"] == "online"
    if age != "2":
        assert heard["container"] == "docker.io/none:1"
    assert heard["listed"] and heard["lifted"] == []
    assert "allow" in heard["kept_out"]


@pytest.mark.parametrize("clients", SDKS, indirect=True)
def test_tokens_in_its_store(clients: Clients) -> None:
    printed = clients.fill_store()
    assert clients.stack.token not in printed.values()
    heard = said(clients.run_with(clients.without_secrets(**printed), "seeded.py"))
    assert heard == {"valid": "online", **({} if clients.name == "sdk-2" else {"renewed": "online"})}


@pytest.mark.parametrize("clients", ["sdk-4"], indirect=True)
def test_what_travels_by_name_says_what_it_needs(clients: Clients) -> None:
    heard = said(clients.run("shell.py", timeout=600))
    for what in ("shell", "walltime", "mpi", "hardware"):
        assert "install globus_compute_sdk there" in heard[what]


def test_what_travels_by_name_runs_where_its_package_is(tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("by_name")
    launcher = place / "mpiexec"
    launcher.write_text('#!/bin/sh\nprintf "%s\\n" "$*"\n')
    launcher.chmod(0o755)
    python = python_of("sdk-4")
    path = f"{place}:{os.environ['PATH']}"
    with e2e.running(place / "home", "--python", str(python), PATH=path) as stack:
        heard = said(Clients(stack, python, place).run("shell.py", timeout=600))
    assert heard["shell"] == [0, "heard\n", ""]
    assert heard["walltime"] == [124, "begun\n", ""]
    assert heard["mpi"] == [0, "-n 2 hello\n", ""]
    assert "== Compute Endpoint worker ==" in heard["hardware"]
    assert heard["task"]
