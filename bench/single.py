"""One call at a time: latency against the store's own commits of the same run, CPU and context switches.

python -m bench.single
"""

from __future__ import annotations

import os
import time
import urllib.request
from collections.abc import Iterator

import bursa

from bench.bursts import same
from bench.processes import cpu_s, switches
from bench.row import Row, at_most, detail, percentile, text
from bench.stack import Stack, fresh

CALLS, WARM = 1_000, 300
COMMIT = "bursa_store_commit_seconds"
MORE_MS = {"p50": (0.5, 0.5), "p99": (0.99, 1.5)}
"""Percentile -> its share, and the milliseconds that a call may take beyond two commits."""
MOST_CPU_US, MOST_SWITCHES = 700, 30
WAYS = "sent", "received"
"""Of messages between service and managers."""


def counted(stack: Stack) -> dict[str, float]:
    """What the service has counted so far: name, with its labels -> value."""
    ask = urllib.request.Request(f"{stack.url}/metrics", headers={"Authorization": f"Bearer {stack.token}"})
    with urllib.request.urlopen(ask) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def commits(counts: dict[str, float]) -> dict[float, float]:
    """Seconds -> commits of the store that took at most so long."""
    prefix = f'{COMMIT}_bucket{{le="'
    return {float(name[len(prefix) : -2]): count for name, count in counts.items() if name.startswith(prefix)}


def quantile(buckets: dict[float, float], share: float) -> float:
    """Of what a histogram counted; between two of its bounds as if it were even."""
    wanted = share * max(buckets.values())
    floor = below = 0.0
    for bound, count in sorted(buckets.items()):
        if count >= wanted and bound != float("inf"):
            return floor + (bound - floor) * (wanted - below) / max(count - below, 1)
        floor, below = bound, count
    return max(bound for bound in buckets if bound != float("inf"))


def measure(stack: Stack, client: bursa.Client) -> dict[str, object]:
    calls(client, WARM)
    before, cpu, switched = counted(stack), used(stack), woken(stack)
    times = calls(client, CALLS)
    cpu_us, switches_each = each(cpu, used(stack), CALLS / 1e6), each(switched, woken(stack), CALLS)
    grown = {name: count - before.get(name, 0) for name, count in counted(stack).items()}
    took = commits(grown)
    return {
        "calls": CALLS,
        "ms": {part: percentile(times, share) for part, (share, _) in MORE_MS.items()},
        "commit_ms": {part: 1000 * quantile(took, share) for part, (share, _) in MORE_MS.items()},
        "commits_per_call": max(took.values()) / CALLS,
        "messages_per_call": {way: grown[f"bursa_link_messages_{way}_total"] / CALLS for way in WAYS},
        "cpu_us": cpu_us,
        "switches": switches_each,
    }


def calls(client: bursa.Client, count: int) -> list[float]:
    """Milliseconds of each, in order of length."""
    times = []
    for number in range(count):
        began = time.perf_counter()
        if client.run(same, number).result() != number:
            raise SystemExit("a call did not give back what it was given")
        times.append(1000 * (time.perf_counter() - began))
    return sorted(times)


def used(stack: Stack) -> dict[str, float]:
    return {**stack.cpu_s(), "client": cpu_s(os.getpid())}


def woken(stack: Stack) -> dict[str, float]:
    return {**stack.switches(), "client": switches([os.getpid()])}


def each(before: dict[str, float], after: dict[str, float], count: float) -> dict[str, float]:
    return {role: (after[role] - before.get(role, 0.0)) / count for role in after}


def rows(found: dict) -> Iterator[Row]:
    for part, (_, more) in MORE_MS.items():
        commit = found["commit_ms"][part]
        yield at_most(f"one call at a time, {part}", found["ms"][part], 2 * commit + more, "ms", 2)
        yield detail(f"the store's own commit, {part}", f"{commit:.3f} ms")
    cpu, switched = found["cpu_us"], found["switches"]
    yield at_most("one call at a time, CPU over all processes", sum(cpu.values()), MOST_CPU_US, "µs")
    yield detail("by process", ", ".join(f"{role} {value:.0f}" for role, value in cpu.items()))
    yield at_most("one call at a time, context switches", sum(switched.values()), MOST_SWITCHES, "", 1)
    yield detail("by process", ", ".join(f"{role} {value:.1f}" for role, value in switched.items()))
    yield detail("commits", f"{found['commits_per_call']:.2f}")
    sent = ", ".join(f"{count:.2f} {way}" for way, count in found["messages_per_call"].items())
    yield detail("messages of the service's link", sent)


def main() -> None:
    with fresh() as (stack, client):
        print(text(rows(measure(stack, client))))


if __name__ == "__main__":
    main()
