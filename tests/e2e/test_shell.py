"""Shell functions on an endpoint: by every way of calling, with a walltime, cancelled."""

from __future__ import annotations

import bursa
import pytest
from bursa import ShellFunction, ShellResult
from bursa.funcx import FuncXClient
from conftest import Stack


def test_a_command_runs_by_every_way_of_calling(client: bursa.Client, stack: Stack) -> None:
    shell = ShellFunction("echo {x}; echo err >&2; exit {code}", name="speak")
    expected = ShellResult("echo hi; echo err >&2; exit 4", "hi\n", "err\n", 4)
    assert client.run(shell, x="hi", code=4).result(30) == expected
    with bursa.Executor(client=client) as executor:
        assert executor.submit(shell, x="hi", code=4).result(30) == expected
    funcx = FuncXClient(client=client)
    task = funcx.run(
        x="hi", code=4, endpoint_id=stack.endpoint_id, function_id=funcx.register_function(shell)
    )
    assert funcx.get_result(task) == expected
    assert client.functions(search="speak")


def test_a_walltime_ends_the_command_and_the_worker_lives_on(client: bursa.Client) -> None:
    assert client.run(ShellFunction("sleep 600 & sleep 600", walltime=0.3)).result(30).returncode == 124
    assert client.run(ShellFunction("echo ok")).result(30).stdout == "ok\n"


def test_a_running_command_can_be_cancelled(client: bursa.Client) -> None:
    future = client.run(ShellFunction("sleep 600"))
    assert future.cancel()
    with pytest.raises(bursa.TaskCancelled):
        future.result(30)


def test_a_missing_value_names_itself(client: bursa.Client) -> None:
    with pytest.raises(bursa.Invalid, match=r"{x} has no value"):
        client.run(ShellFunction("echo {x}")).result(30)
