"""What a call costs the running product, counted and not timed: context switches and commits.

The other half of the gate is `make instructions`. The bounds are generous: what they catch is a thread or a
commit more per call, not a busy machine.
"""

from __future__ import annotations

import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import bursa
from conftest import Stack, descendants

ONE_BY_ONE = 200
BURST = 1_000


def noop(x: object) -> None:
    return None


@dataclass
class Costs:
    switches: float
    commits: float

    def __sub__(self, before: Costs) -> Costs:
        return Costs(self.switches - before.switches, self.commits - before.commits)

    def each(self, calls: int) -> Costs:
        return Costs(self.switches / calls, self.commits / calls)


def costs(stack: Stack) -> Costs:
    """So far: switches of this process and all of Bursa's; commits of the store."""
    request = urllib.request.Request(
        f"{stack.url}/metrics", headers={"Authorization": f"Bearer {stack.token}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    values = dict(line.split() for line in lines if line and not line.startswith("#") and "{" not in line)
    pids = [os.getpid(), stack.pid, *descendants(stack.pid)]
    return Costs(sum(map(switches, pids)), float(values["bursa_store_commits_total"]))


def switches(pid: int) -> int:
    """Times that a thread of this process went to sleep: each is a wake-up that somebody paid for."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in status.read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                total += int(line.split()[1])
    return total


def test_one_call_at_a_time(stack: Stack, client: bursa.Client) -> None:
    for n in range(20):
        client.run(noop, n).result(30)
    before = costs(stack)
    for n in range(ONE_BY_ONE):
        client.run(noop, n).result(30)
    spent = (costs(stack) - before).each(ONE_BY_ONE)
    assert 1.9 <= spent.commits <= 2.2, f"a call is two commits, its acceptance and its end: {spent}"
    assert spent.switches <= 50, spent


def test_a_burst(stack: Stack, client: bursa.Client) -> None:
    for future in [client.run(noop, n) for n in range(BURST)]:
        future.result(60)
    before = costs(stack)
    for future in [client.run(noop, n) for n in range(BURST)]:
        future.result(60)
    spent = (costs(stack) - before).each(BURST)
    assert spent.commits <= 0.05, f"many calls share a commit: {spent}"
    assert spent.switches <= 2, spent
