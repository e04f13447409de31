"""What a call costs the running product, counted and not timed: context switches, commits, messages.

The other half of the gate is `make instructions`. The bounds are generous: what they catch is a thread, a
commit or a message more per call, not a busy machine.
"""

from __future__ import annotations

import os
import urllib.request
from dataclasses import astuple, dataclass
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
    sent: float
    received: float

    def __sub__(self, before: Costs) -> Costs:
        return Costs(*(now - then for now, then in zip(astuple(self), astuple(before))))

    def each(self, calls: int) -> Costs:
        return Costs(*(count / calls for count in astuple(self)))


def costs(stack: Stack) -> Costs:
    """So far: switches of this process and all of Bursa's, commits, messages of the service's link."""
    request = urllib.request.Request(
        f"{stack.url}/metrics", headers={"Authorization": f"Bearer {stack.token}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    values = dict(line.split() for line in lines if line and not line.startswith("#") and "{" not in line)
    pids = [os.getpid(), stack.pid, *descendants(stack.pid)]
    names = "store_commits", "link_messages_sent", "link_messages_received"
    return Costs(sum(map(switches, pids)), *(float(values[f"bursa_{name}_total"]) for name in names))


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
    assert max(spent.sent, spent.received) <= 1.3, f"a call is one message each way: {spent}"


def test_a_burst(stack: Stack, client: bursa.Client) -> None:
    for future in [client.run(noop, n) for n in range(BURST)]:
        future.result(60)
    before = costs(stack)
    for future in [client.run(noop, n) for n in range(BURST)]:
        future.result(60)
    spent = (costs(stack) - before).each(BURST)
    assert spent.commits <= 0.05, f"many calls share a commit: {spent}"
    assert spent.switches <= 2, spent
    assert max(spent.sent, spent.received) <= 0.06, f"many calls share a message: {spent}"
