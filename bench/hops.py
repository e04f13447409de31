"""Where the time of one call goes, hop by hop, as the funcX papers break it down: t_s, t_f, t_e, t_w.

python -m bench.hops
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import bursa

from bench.bursts import same
from bench.row import Row, detail, text
from bench.stack import Stack, fresh

CALLS, WARM = 500, 200
GROUPS = {
    "service": ["store"],
    "forwarder": ["queue", "network"],
    "endpoint": ["manager", "node_network", "worker_wait", "pipe"],
    "worker": ["load", "run", "dump"],
}
"""The papers' t_s, t_f, t_e and t_w -> the parts of a task's `timings` in it."""
BACK = "result stored, pushed, read; the client"
"""What is left of the time that the client saw: the result's own commit is in it."""


def measure(stack: Stack, client: bursa.Client) -> dict[str, object]:
    """Medians over single calls on a warm stack, in milliseconds."""
    for _ in range(WARM):
        client.run(same, 1).result()
    seen, futures = [], []
    for number in range(CALLS):
        began = time.perf_counter()
        future = client.run(same, number)
        if future.result() != number:
            raise SystemExit("a call did not give back what it was given")
        seen.append(time.perf_counter() - began)
        futures.append(future)
    timings = [future.timings for future in futures]
    parts = {
        part: 1000 * statistics.median(each[part] for each in timings)
        for group in GROUPS.values()
        for part in group
    }
    rest = [total - each["total"] for total, each in zip(seen, timings)]
    return {
        "calls": CALLS,
        "parts_ms": {**parts, BACK: 1000 * statistics.median(rest)},
        "seen_p50_ms": 1000 * statistics.median(seen),
    }


def grouped(parts: dict[str, float]) -> dict[str, dict[str, float]]:
    """Group -> its parts; what is in no group comes last, by itself."""
    return {name: {part: parts[part] for part in group} for name, group in GROUPS.items()} | {
        BACK: {BACK: parts[BACK]}
    }


def rows(found: dict) -> Iterator[Row]:
    yield Row("one call, as its client sees it, p50", f"{found['seen_p50_ms']:.2f} ms")
    for name, parts in grouped(found["parts_ms"]).items():
        inside = ", ".join(f"{part} {1000 * ms:.0f}" for part, ms in parts.items()) if len(parts) > 1 else ""
        yield detail(f"{name} ({inside})" if inside else name, f"{1000 * sum(parts.values()):.0f} µs")


def main() -> None:
    with fresh() as (stack, client):
        print(text(rows(measure(stack, client))))


if __name__ == "__main__":
    main()
