"""`client.map` of a trivial function: inputs per second, beside a process pool with its best chunk size.

python -m bench.map
"""

from __future__ import annotations

import itertools
import os
import statistics
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor

import bursa

from bench.processes import memory_mb
from bench.row import Row, at_least, at_most, detail, spread, text
from bench.stack import WORKERS, Stack, fresh

INPUTS = 2_000_000
PASSES = 5
POOL_CHUNKS = [100, 1_000, 10_000, 100_000]
POOL_TRIAL = 500_000
ENDLESS = 10_000_000


def f(x: int) -> int:
    return x + 1


def read(results: Iterable[int], count: int) -> float:
    """Seconds until `count` results of `f` over 0, 1, … are read; each must be right."""
    started = time.perf_counter()
    values = list(itertools.islice(results, count))
    seconds = time.perf_counter() - started
    if values != list(range(1, count + 1)):
        raise SystemExit(f"{count} inputs did not give the results of their function")
    return seconds


def best_chunk(pool: ProcessPoolExecutor) -> int:
    """The chunk size with which the pool is fastest here."""
    times = {size: read(pool.map(f, range(POOL_TRIAL), chunksize=size), POOL_TRIAL) for size in POOL_CHUNKS}
    return min(times, key=times.__getitem__)


def measure(stack: Stack, client: bursa.Client) -> dict[str, object]:
    """An iterator without end; then passes over a range, over an iterator, and of the pool, in turn."""
    without_end = endless(client)  # first: later the process has memory to spare
    ranges, iterators, pools, cpu = [], [], [], []
    with ProcessPoolExecutor(WORKERS) as pool:
        chunk = best_chunk(pool)
        read(client.map(f, range(INPUTS)), INPUTS)
        for _ in range(PASSES):
            before, own = stack.cpu_s(), time.process_time()
            ranges.append(read(client.map(f, range(INPUTS)), INPUTS))
            own = time.process_time() - own
            after = stack.cpu_s()
            spent = {role: after[role] - before.get(role, 0.0) for role in after} | {"client": own}
            cpu.append({role: 1e6 * seconds / INPUTS for role, seconds in spent.items()})
            iterators.append(read(client.map(f, iter(range(INPUTS))), INPUTS))
            pools.append(read(pool.map(f, range(INPUTS), chunksize=chunk), INPUTS))
    return {
        "inputs": INPUTS,
        "inputs_per_s": spread([INPUTS / seconds for seconds in ranges]),
        "inputs_of_an_iterator_per_s": spread([INPUTS / seconds for seconds in iterators]),
        "process_pool_inputs_per_s": spread([INPUTS / seconds for seconds in pools]),
        "process_pool_chunk": chunk,
        "times_process_pool": spread([pool / own for pool, own in zip(pools, ranges)]),
        "cpu_us_per_input": {role: statistics.median(run.get(role, 0.0) for run in cpu) for role in cpu[0]},
        "endless": without_end,
    }


def endless(client: bursa.Client) -> dict[str, float]:
    """The client's memory while it reads an iterator without end: after a tenth, and at most from there."""
    results = client.map(f, itertools.count())
    deep = drained(results, ENDLESS // 10)
    early = memory_mb(os.getpid())["rss"]
    most = max(resident(results, deep, ENDLESS))
    results.cancel()
    return {"inputs": ENDLESS, "rss_mb_early": early, "rss_mb_most_after": most}


def drained(results: Iterator[int], until: int) -> int:
    """Reads results up to the input `until`, which must be right at the end."""
    for value in results:
        if value == until:
            return until
    raise SystemExit("an iterator without end has ended")


def resident(results: Iterator[int], start: int, stop: int) -> Iterator[float]:
    for until in range(start + ENDLESS // 10, stop + 1, ENDLESS // 10):
        drained(results, until)
        yield memory_mb(os.getpid())["rss"]


def rows(found: dict) -> Iterator[Row]:
    name = f"map of {found['inputs']:,} inputs"
    yield at_least(name, found["inputs_per_s"]["median"], 1_000_000, "inputs/s")
    of_iterator = found["inputs_of_an_iterator_per_s"]["median"]
    yield at_least(f"{name}, drawn from an iterator", of_iterator, 1_000_000, "inputs/s")
    yield detail("times the process pool", f"{found['times_process_pool']['median']:.1f} ×")
    pool = found["process_pool_inputs_per_s"]["median"]
    yield detail(
        f"process pool, same run, best chunk {found['process_pool_chunk']:,}", f"{pool:,.0f} inputs/s"
    )
    cpu = found["cpu_us_per_input"]
    yield at_most(f"{name}, CPU per input", sum(cpu.values()), 2.0, "µs", 2)
    for role, used in cpu.items():
        if used >= 0.005:
            yield detail(role, f"{used:.2f} µs")
    end = found["endless"]
    grown = end["rss_mb_most_after"] - end["rss_mb_early"]
    yield at_most(f"client grows while reading {end['inputs']:,} of an endless map", grown, 32, "MB", 1)
    yield detail("client, resident", f"{end['rss_mb_most_after']:.0f} MB")


def main() -> None:
    with fresh() as (stack, client):
        print(text(rows(measure(stack, client))))


if __name__ == "__main__":
    main()
