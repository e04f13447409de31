"""Cancelling: of queued and running tasks, of groups, twice, and against a result that is quicker."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import bursa
import pytest
from conftest import Stack, myself, on_host, run_cli, wait_for

RACERS = 3_000


def test_a_running_task_is_stopped_and_its_worker_replaced(client: bursa.Client, tmp_path: Path) -> None:
    mark = tmp_path / "pid"

    def runs(path):
        import time
        from pathlib import Path

        Path(path).write_text(myself())
        time.sleep(600)

    future = client.run(runs, str(mark))
    wait_for(lambda: client.status(future) == "running" and mark.exists() and mark.read_text(), 30, "a start")
    pid = on_host(mark.read_text())
    assert future.cancel() and future.cancelled() and future.done()
    with pytest.raises(bursa.TaskCancelled):
        future.result(0)
    assert client.status(future) == "cancelled"
    assert future.cancel(), "again: no news"
    assert client.cancel(future.task_id) == ["cancelled"]
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), 10, "the end of its process")
    assert client.run(abs, -1).result(30) == 1


def test_an_ended_task_keeps_its_end(client: bursa.Client) -> None:
    future = client.run(abs, -1)
    assert future.result(30) == 1
    assert not future.cancel() and not future.cancelled()
    assert client.cancel(future.task_id, [future]) == ["success", "success"]


def test_a_group_is_cancelled_by_client_and_command_line(stack: Stack) -> None:
    for by_command in (False, True):
        with bursa.Client(stack.url, stack.token) as client:
            futures = [client.run(time.sleep, 600) for _ in range(50)]
            client.wait_accepted(futures)
            if by_command:
                done = run_cli(stack.home, "task", "cancel", "--group", client.group_id)
                assert done.returncode == 0 and done.stdout.count("cancelled") == 50
                again = run_cli(stack.home, "task", "cancel", "--group", client.group_id)
                assert again.returncode == 0 and again.stdout == ""
            else:
                assert client.cancel_group() == 50
                assert client.cancel_group() == 0
            wait_for(lambda futures=futures: all(future.cancelled() for future in futures), 30, "the news")


def test_a_cancel_that_races_with_a_result_gives_exactly_one_of_the_two(client: bursa.Client) -> None:
    def short(number):
        import time

        time.sleep(number % 3 / 2_000)
        return number

    futures = [client.run(short, number) for number in range(RACERS)]
    said: dict[int, bool] = {}

    def cancel(numbers: list[int]) -> None:
        for number in numbers:
            said[number] = futures[number].cancel()

    # Those that are being run just now are the ones to race with.
    numbers = list(range(0, RACERS, 2))
    chosen = random.Random(7)
    blocks = [sorted(chosen.sample(numbers, len(numbers))[:400]) for _ in range(4)]
    threads = [threading.Thread(target=cancel, args=(block,)) for block in blocks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ends: dict[str, int] = {"success": 0, "cancelled": 0}
    wait_for(lambda: all(future.done() for future in futures), 60, "every end")
    for number, (future, task) in enumerate(zip(futures, client.tasks(futures))):
        ends[task["state"]] += 1
        assert future.cancelled() == (task["state"] == "cancelled")
        if future.cancelled():
            assert number in said, "nobody asked for it"
        else:
            assert future.result(0) == number
            assert not said.get(number), "it was said to be cancelled"
    assert ends["success"] and ends["cancelled"], ends
