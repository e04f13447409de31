"""Bursts of no-ops by one client, beside a process pool of as many workers that does the same.

python -m bench.bursts
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor

import bursa

from bench.row import Row, at_least, at_most, detail, spread, text
from bench.stack import WORKERS, Stack, fresh

PASSES = 5
SIZES = [10_000, 100_000]
RUST = ["service", "manager", "executor", "watchdog"]
MOST_US = {"all": 40.0, "Rust": 15.0, "worker": 5.0, "client": 15.0}


def same(x: object) -> object:
    return x


def burst(submit: Callable[[Callable, int], object], count: int) -> float:
    """Seconds for `count` no-ops, submitted one by one and all waited for; each must give its number back."""
    started = time.perf_counter()
    futures = [submit(same, number) for number in range(count)]
    results = [future.result() for future in futures]
    seconds = time.perf_counter() - started
    if results != list(range(count)):
        raise SystemExit(f"{count} no-ops did not give back what they were given")
    return seconds


def measure(stack: Stack, client: bursa.Client) -> dict[str, dict]:
    return {str(count): of_size(stack, client, count) for count in SIZES}


def of_size(stack: Stack, client: bursa.Client, count: int) -> dict[str, object]:
    ours, pools, cpu = [], [], []
    with ProcessPoolExecutor(WORKERS) as pool:
        burst(pool.submit, 100)
        for _ in range(PASSES):
            before, own = stack.cpu_s(), time.process_time()
            ours.append(burst(client.run, count))
            own = time.process_time() - own
            after = stack.cpu_s()
            spent = {role: after[role] - before.get(role, 0.0) for role in after} | {"client": own}
            cpu.append({role: 1e6 * seconds / count for role, seconds in spent.items()})
            pools.append(burst(pool.submit, count))
    by_role = {role: statistics.median(run.get(role, 0.0) for run in cpu) for role in sorted(cpu[0])}
    return {
        "tasks": count,
        "tasks_per_s": spread([count / seconds for seconds in ours]),
        "process_pool_tasks_per_s": spread([count / seconds for seconds in pools]),
        "times_process_pool": spread([pool / own for pool, own in zip(pools, ours)]),
        "cpu_us_per_task": by_role,
    }


def rows(found: dict[str, dict]) -> Iterator[Row]:
    for run in found.values():
        name = f"{run['tasks']:,} no-ops"
        yield at_least(name, run["tasks_per_s"]["median"], 40_000, "tasks/s")
        yield at_least(f"{name}, times the process pool", run["times_process_pool"]["median"], 3, "×", 1)
        yield detail("process pool, same run", f"{run['process_pool_tasks_per_s']['median']:,.0f} tasks/s")
        cpu = run["cpu_us_per_task"]
        grouped = {
            "all": sum(cpu.values()),
            "Rust": sum(cpu.get(role, 0.0) for role in RUST),
            "worker": cpu.get("worker", 0.0),
            "client": cpu["client"],
        }
        for who, most in MOST_US.items():
            yield at_most(f"{name}, CPU per task: {who}", grouped[who], most, "µs", 1)
        for role, used in cpu.items():
            if role in RUST and used >= 0.05:
                yield detail(role, f"{used:.1f} µs")


def main() -> None:
    with fresh() as (stack, client):
        print(text(rows(measure(stack, client))))


if __name__ == "__main__":
    main()
