"""Tasks of 1 and 10 ms on 2 workers, against a bare loop of the same sleeps in the same run.

python -m bench.short_tasks
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import bursa

from bench.row import Row, at_least, detail, spread, text
from bench.stack import WORKERS, Stack, fresh

PASSES = 5
CASES = {0.001: (2_000, 0.97), 0.01: (400, 0.99)}
"""Seconds of a task -> how many tasks, and the least efficiency."""


def sleep(seconds: float) -> float:
    import time

    time.sleep(seconds)
    return seconds


def bare(seconds: float, count: int) -> float:
    """Seconds that one process takes for its share of the sleeps and nothing else."""
    began = time.perf_counter()
    for _ in range(count // WORKERS):
        sleep(seconds)
    return time.perf_counter() - began


def tasks(client: bursa.Client, seconds: float, count: int) -> float:
    began = time.perf_counter()
    futures = [client.run(sleep, seconds) for _ in range(count)]
    results = [future.result() for future in futures]
    took = time.perf_counter() - began
    if results != [seconds] * count:
        raise SystemExit("a sleep did not give back what it was given")
    return took


def measure(stack: Stack, client: bursa.Client) -> dict[str, dict]:
    return {f"{1000 * seconds:g}": of_length(client, seconds) for seconds in CASES}


def of_length(client: bursa.Client, seconds: float) -> dict[str, object]:
    count, _ = CASES[seconds]
    tasks(client, seconds, WORKERS)
    pairs = [(bare(seconds, count), tasks(client, seconds, count)) for _ in range(PASSES)]
    return {
        "seconds": seconds,
        "tasks": count,
        "bare_s": spread([pair[0] for pair in pairs]),
        "tasks_s": spread([pair[1] for pair in pairs]),
        "efficiency": spread([loop / ours for loop, ours in pairs]),
    }


def rows(found: dict[str, dict]) -> Iterator[Row]:
    for length, run in found.items():
        least = CASES[run["seconds"]][1]
        name = f"{length} ms tasks on {WORKERS} workers, of a bare sleep loop"
        yield at_least(name, run["efficiency"]["median"], least, "×", 3)
        yield detail("bare loop; tasks", f"{run['bare_s']['median']:.3f} s; {run['tasks_s']['median']:.3f} s")


def main() -> None:
    with fresh() as (stack, client):
        print(text(rows(measure(stack, client))))


if __name__ == "__main__":
    main()
