"""One call at a time: where its time goes, its commits, its messages, and what wakes whom.

    python -m bench.one_call [calls]      # prints JSON; BURSA_BIN names another binary

Wall time on a shared machine is noisy; context switches, commits and messages per call are not.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request

import bursa

from bench.processes import cpu_s, switches
from bench.stack import Stack, fresh

CALLS = 1000
WARM = 300
BURST = 20_000
COMMIT = "bursa_store_commit_seconds"


def noop(x: object) -> None:
    return None


def metrics(stack: Stack) -> dict[str, float]:
    """What the service counts: name (with labels) -> value."""
    ask = urllib.request.Request(f"{stack.url}/metrics", headers={"Authorization": f"Bearer {stack.token}"})
    with urllib.request.urlopen(ask) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


class Meter:
    """What the kernel and the service count from here on."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._before = self._now()

    def _now(self) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
        """Metrics, CPU seconds by role, context switches by role."""
        client = os.getpid()
        cpu = {**self._stack.cpu_s(), "client": cpu_s(client)}
        return metrics(self._stack), cpu, {**self._stack.switches(), "client": switches([client])}

    def read(self, tasks: int) -> dict[str, object]:
        """For each of `tasks` since the meter was made."""
        (counted, cpu, switched), before = self._now(), self._before
        grown = {name: value - before[0].get(name, 0) for name, value in counted.items()}
        return {
            "commit_p50_ms": round(1000 * quantile(grown, COMMIT, 0.50), 3),
            "commit_p99_ms": round(1000 * quantile(grown, COMMIT, 0.99), 3),
            "commits_per_task": round(grown["bursa_store_commits_total"] / tasks, 4),
            "messages_from_managers_per_task": round(grown["bursa_link_messages_received_total"] / tasks, 4),
            "messages_to_managers_per_task": round(grown["bursa_link_messages_sent_total"] / tasks, 4),
            "context_switches_per_task": each(tasks, before[2], switched),
            "cpu_us_per_task": each(tasks / 1e6, before[1], cpu),
        }


def each(count: float, before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    found = {role: (after[role] - before.get(role, 0)) / count for role in sorted(after)}
    return {role: round(value, 2) for role, value in {"all": sum(found.values()), **found}.items()}


def quantile(grown: dict[str, float], name: str, part: float) -> float:
    """Below this lies `part` of what a histogram has counted; between its bounds as if they were even."""
    prefix = f'{name}_bucket{{le="'
    buckets = [(float(key[len(prefix) : -2]), grown[key]) for key in grown if key.startswith(prefix)]
    wanted = part * grown[f"{name}_count"]
    floor = below = 0.0
    for bound, count in buckets:
        if count >= wanted > 0 and bound != float("inf"):
            return floor + (bound - floor) * (wanted - below) / max(count - below, 1)
        floor, below = (floor if bound == float("inf") else bound), count
    return floor


def one_call(stack: Stack, client: bursa.Client, calls: int = CALLS) -> dict[str, object]:
    """Calls one after another on a warm stack, and what each cost."""
    for _ in range(WARM):
        client.run(noop, 1).result()
    meter, times = Meter(stack), []
    for _ in range(calls):
        started = time.perf_counter()
        client.run(noop, 1).result()
        times.append(1000 * (time.perf_counter() - started))
    found = meter.read(calls)
    times.sort()
    p50, p99 = times[calls // 2], times[int(calls * 0.99)]
    return {
        "calls": calls,
        "p50_ms": round(p50, 3),
        "p99_ms": round(p99, 3),
        "p50_beyond_two_commits_ms": round(p50 - 2 * found["commit_p50_ms"], 3),
        "p99_beyond_two_commits_ms": round(p99 - 2 * found["commit_p99_ms"], 3),
        **found,
    }


def burst(stack: Stack, client: bursa.Client, tasks: int = BURST) -> dict[str, object]:
    """The same counts for no-ops submitted together."""
    meter = Meter(stack)
    for future in [client.run(noop, number) for number in range(tasks)]:
        future.result()
    return {"tasks": tasks, **meter.read(tasks)}


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else CALLS
    with fresh() as (stack, client):
        found = {"one_call": one_call(stack, client, calls), "burst": burst(stack, client)}
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
