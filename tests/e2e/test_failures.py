"""Every way a call can go wrong gives a typed failure that says why, and the endpoint stays up."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path

import bursa
import pytest
from conftest import Stack, running


def still_works(client: bursa.Client) -> bool:
    return client.run(lambda: "alive").result(30) == "alive"


def test_the_users_exception_comes_back_with_its_traceback(client: bursa.Client) -> None:
    class Odd(ValueError):
        pass

    def deep(n):
        if n == 0:
            raise Odd("the sample is odd")
        return deep(n - 1)

    with pytest.raises(ValueError, match="the sample is odd") as caught:
        client.run(deep, 3).result(30)
    remote = str(caught.value.__cause__)
    assert remote.count("in deep") == 4
    assert "bursa/worker" not in remote, "only the user's frames"


def test_an_exception_that_cannot_travel_is_described(client: bursa.Client) -> None:
    class Stuck(Exception):
        def __reduce__(self):
            raise TypeError("no")

    def fail():
        raise Stuck("held back")

    with pytest.raises(bursa.TaskFailed, match="held back") as caught:
        client.run(fail).result(30)
    assert caught.value.code == "user-error"


def test_sys_exit_is_an_error_of_the_function(client: bursa.Client) -> None:
    with pytest.raises(BaseException) as caught:
        client.run(sys.exit, 3).result(30)
    assert isinstance(caught.value, (SystemExit, bursa.TaskFailed))
    assert still_works(client)


def test_os_exit_is_a_worker_death_with_its_code(client: bursa.Client) -> None:
    with pytest.raises(bursa.TaskFailed) as caught:
        client.run(os._exit, 7).result(60)
    assert caught.value.code == "worker-died"
    assert caught.value.failure["exit"] == 7
    assert "7" in str(caught.value)
    assert still_works(client)


def test_a_segfault_is_a_worker_death_with_its_signal_and_last_words(client: bursa.Client) -> None:
    def crash():
        print("about to crash")
        ctypes.string_at(0)

    with pytest.raises(bursa.TaskFailed) as caught:
        client.run(crash).result(60)
    assert caught.value.code == "worker-died"
    assert caught.value.failure["signal"] == 11
    assert "SIGSEGV" in str(caught.value)
    assert "about to crash" in caught.value.output
    assert still_works(client)


def test_a_million_lines_are_printed_and_the_tail_is_kept(client: bursa.Client) -> None:
    def loud():
        for number in range(1_000_000):
            print("line", number)
        return "done"

    future = client.run(loud)
    assert future.result(60) == "done"
    output = client.task(future.task_id)["output"]
    assert len(output) <= 65_536
    assert output.endswith(b"line 999999\n")


def test_a_million_lines_of_a_child_process_do_not_harm(client: bursa.Client) -> None:
    def loud():
        import subprocess

        return subprocess.run(["seq", "1000000"], check=True).returncode

    future = client.run(loud)
    assert future.result(60) == 0
    assert len(client.task(future.task_id)["output"]) <= 65_536


def test_a_missing_module_is_named(client: bursa.Client) -> None:
    def needs():
        import no_such_module_anywhere

        return no_such_module_anywhere

    with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
        client.run(needs).result(30)


def test_a_body_that_cannot_be_loaded_is_a_load_failure(client: bursa.Client) -> None:
    body = b"c" + bytes(sys.version_info[:2]) + b"this is no pickle"
    function = client.register_body("broken", body)
    with pytest.raises(bursa.TaskFailed) as caught:
        client.run(function).result(30)
    assert caught.value.code == "load-failed"
    assert still_works(client)


def test_another_pythons_function_is_refused_before_it_is_unpickled(client: bursa.Client) -> None:
    major, minor = sys.version_info[:2]
    body = b"c" + bytes((major, minor + 1)) + b"this would crash"
    function = client.register_body("foreign", body)
    with pytest.raises(bursa.TaskFailed) as caught:
        client.run(function).result(30)
    assert caught.value.code == "deserialize-mismatch"
    assert f"{major}.{minor}" in str(caught.value)
    assert f"{major}.{minor + 1}" in str(caught.value)


def test_a_result_over_the_limit_says_both_numbers(client: bursa.Client) -> None:
    with pytest.raises(bursa.TaskFailed) as caught:
        client.run(lambda: bytes(65 * 1024 * 1024)).result(60)
    assert caught.value.code == "result-too-large"
    assert str(64 * 1024 * 1024) in str(caught.value).replace(",", "")
    assert still_works(client)


def test_arguments_over_the_limit_are_refused_before_they_are_sent(client: bursa.Client) -> None:
    with pytest.raises(bursa.TooLarge) as caught:
        client.run(len, bytes(65 * 1024 * 1024)).result(60)
    assert str(64 * 1024 * 1024) in str(caught.value).replace(",", "")


def test_an_unpicklable_argument_is_named(client: bursa.Client) -> None:
    with pytest.raises(bursa.SerializationError, match="argument 1"):
        client.run(lambda a, b: None, 1, (part for part in ()))
    with pytest.raises(bursa.SerializationError, match="stream"):
        client.run(lambda stream: None, stream=sys.stdout)


def test_an_unpicklable_result_is_described(client: bursa.Client) -> None:
    with pytest.raises(bursa.BursaError) as caught:
        client.run(lambda: (part for part in ())).result(30)
    assert "generator" in str(caught.value)
    assert still_works(client)


def test_a_worker_that_dies_once_is_run_again(client: bursa.Client, tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    def dies_once(path):
        if not os.path.exists(path):
            open(path, "w").close()
            os._exit(1)
        return "second time"

    assert client.run(dies_once, str(mark)).result(60) == "second time"


def test_unknown_ids_are_named(client: bursa.Client) -> None:
    nobody = "00000000-0000-7000-8000-000000000000"
    with pytest.raises(bursa.NotFound, match=nobody):
        client.status(nobody)
    with pytest.raises(bursa.NotFound, match=nobody):
        client.run(nobody, 1).result(30)
    with pytest.raises(bursa.NotFound, match=nobody):
        client.run(len, [], endpoint_id=nobody).result(30)


def test_a_wrong_token_is_told(stack: Stack) -> None:
    with pytest.raises(bursa.Unauthorized), bursa.Client(stack.url, "wrong") as client:
        client.endpoints()


def test_a_deleted_endpoint_ends_its_tasks(tmp_path: Path) -> None:
    with running(tmp_path / "home") as stack:
        client = stack.client()
        running_task = client.run(time.sleep, 60)
        queued = [client.run(time.sleep, 60) for _ in range(10)]
        client.tasks([running_task, *queued])  # asks once they are accepted
        client.delete_endpoint(stack.endpoint_id)
        for future in [running_task, *queued]:
            with pytest.raises(bursa.TaskFailed) as caught:
                future.result(30)
            assert caught.value.code == "endpoint-deleted"
