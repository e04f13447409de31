"""Throughput by the size of a burst, 1 to 100,000 no-ops, beside a process pool.

python -m bench.curve
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import bursa

from bench.bursts import burst
from bench.row import Row, detail, text
from bench.stack import WORKERS, Stack, fresh

PASSES = 5
SIZES = [1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000]


def measure(stack: Stack, client: bursa.Client) -> dict[str, list]:
    ours, pools = [], []
    with ProcessPoolExecutor(WORKERS) as pool:
        burst(pool.submit, 100)
        for count in SIZES:
            pairs = [(burst(client.run, count), burst(pool.submit, count)) for _ in range(PASSES)]
            ours.append(count / statistics.median(pair[0] for pair in pairs))
            pools.append(count / statistics.median(pair[1] for pair in pairs))
    return {"tasks": SIZES, "tasks_per_s": ours, "process_pool_tasks_per_s": pools}


def rows(found: dict) -> Iterator[Row]:
    yield Row("burst of", "tasks/s")
    for count, ours, pool in zip(found["tasks"], found["tasks_per_s"], found["process_pool_tasks_per_s"]):
        yield detail(f"{count:,}", f"{ours:,.0f} (process pool {pool:,.0f})")


def main() -> None:
    with fresh() as (stack, client):
        print(text(rows(measure(stack, client))))


if __name__ == "__main__":
    main()
