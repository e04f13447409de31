"""What is done to the processes and the links between them, and when."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import processes
from journal import Tail
from proxy import DOWN, UP, Link
from stack import Clients, Stack, Violation

KILLS = {
    "service": 4,
    "manager": 4,
    "executor": 4,
    "zygote": 4,
    "worker": 10,
    "client": 4,
    "client-for-good": 2,
    "watchdog": 2,
    "everything": 1,
}
PAUSES = {"service": 2, "manager": 2, "executor": 3, "zygote": 2, "worker": 3, "client": 2, "watchdog": 1}
LINKS = {"cut": 3, "stall": 2, "stall long": 2, "delay": 1, "refuse": 2, "lose": 1}
SHORT, LONG = (0.05, 2.0), (4.5, 9.0)
"""Seconds of a pause or a stall: below every threshold, and above."""
LATENCY, REFUSED = (0.05, 1.0), (0.2, 3.0)
"""Seconds that a slow link adds, and seconds for which nobody listens."""
PHASES = 80.0
"""Seconds of faults on top of each other and then of faults one at a time, which are measured; and again."""
SOON = 0.25
"""Seconds of a small call when nothing is wrong, on a busy machine."""
CALM = 30.0
"""Seconds after a fault by which calls must go through again. Above every threshold and back-off in use."""


class Fault(NamedTuple):
    kind: str
    at: float
    over: float
    """When a pause or a broken link ended; `at` for what is done in an instant."""
    alone: bool
    """Nothing else was wrong at the time."""


class Draw:
    """The random numbers of one fault: the same for a seed, whatever processes it meets."""

    def __init__(self, seed: int, number: int, table: list[tuple[str, int]], gap: float) -> None:
        drawn = random.Random(f"{seed}/{number}")
        self.gap = drawn.expovariate(1 / gap)
        kinds, weights = zip(*table)
        self.kind = drawn.choices(kinds, weights)[0]
        self.which, self.length, self.way = (
            drawn.random(),
            drawn.random(),
            drawn.choice([(UP, DOWN), (UP,), (DOWN,)]),
        )

    def one_of(self, candidates: list) -> object:
        return candidates[int(self.which * len(candidates))]

    def within(self, span: tuple[float, float]) -> float:
        return span[0] + self.length * (span[1] - span[0])


def table(only: str, links: list[str]) -> list[tuple[str, int]]:
    """Every kind of fault with its weight."""
    kinds = [(f"kill {role}", weight) for role, weight in KILLS.items()]
    for length in ("", "long "):
        kinds += [(f"pause {length}{role}", weight) for role, weight in PAUSES.items()]
    for link in links:
        # The SDK takes a minute to find a connection dead that nobody ended: longer than anything else here.
        mine = {what: weight for what, weight in LINKS.items() if what != "lose" or link != "client-service"}
        kinds += [(f"{what} {link}", weight) for what, weight in mine.items()]
    return [(kind, weight) for kind, weight in kinds if only in kind]


class Faults:
    """Draws faults from one seed and does them."""

    def __init__(self, seed: int, stack: Stack, clients: Clients, gap: float, only: str) -> None:
        self.seed, self.stack, self.clients, self.gap = seed, stack, clients, gap
        self.links = {link.name: link for link in stack.links}
        self.table = table(only, list(self.links))
        self.probe = Tail(clients.journal(Clients.PROBE))
        self.done: list[Fault] = []
        self.log = (clients.folder / "faults.txt").open("w")
        self.drawn, self.struck = 0, 0.0
        self.healing: dict[object, threading.Timer] = {}
        self.rotation = self.rotate()

    def rotate(self) -> Iterator[str]:
        """Every kind in turn, for ever, in another order each time."""
        order = random.Random(self.seed)
        while True:
            kinds = [kind for kind, _ in self.table]
            order.shuffle(kinds)
            yield from kinds

    def run(self, seconds: float) -> None:
        times = max(1, round(seconds / PHASES))
        for _ in range(times):
            self.storm(time.monotonic() + seconds / times / 2)
            self.singly(time.monotonic() + seconds / times / 2)

    def storm(self, end: float) -> None:
        """Faults on top of each other."""
        while (left := end - time.monotonic()) > 0:
            draw = self.draw()
            time.sleep(min(left, draw.gap))
            self.do(draw.kind, draw, alone=False)

    def singly(self, end: float) -> None:
        """Each fault when all is well again after the one before."""
        self.heal()
        self.calm(time.time())
        while time.monotonic() < end:
            draw = self.draw()
            fault = self.do(next(self.rotation), draw, alone=True)
            if fault is not None:
                time.sleep(max(0.0, fault.over - time.time()))
                self.calm(fault.over)
                time.sleep(draw.gap / 2)

    def calm(self, since: float) -> None:
        """Until calls that are submitted after `since` succeed, and soon: nothing waits any more."""
        end = time.monotonic() + CALM
        while time.monotonic() < end:
            self.probe.follow()
            if self.probe.newest > since and self.probe.took < SOON:
                return
            time.sleep(0.02)
        if self.probe.newest <= since:
            raise Violation(f"no call succeeded within {CALM:.0f} s; the last fault was {self.done[-1]}")

    def draw(self) -> Draw:
        self.drawn += 1
        return Draw(self.seed, self.drawn, self.table, self.gap)

    def do(self, kind: str, draw: Draw, alone: bool) -> Fault | None:
        """Does it, unless there is nothing to do it to."""
        *action, target = kind.split()
        self.struck = time.time()
        if target in self.links:
            length = self.break_link(self.links[target], action, draw)
        elif action[0] == "pause":
            length = self.pause(target, LONG if "long" in action else SHORT, draw)
        else:
            length = self.kill(target, draw)
        self.stack.check()
        self.clients.check()
        processes.reap({self.stack.process.pid, *self.clients.pids()})
        if length is None:
            return None
        at = self.struck
        self.done.append(Fault(kind, at, at + length, alone))
        print(f"{at:.3f} {kind} {length:.2f} s{' alone' if alone else ''}", file=self.log, flush=True)
        return self.done[-1]

    # Each says for how many seconds it lasts; None: it did not happen

    def kill(self, role: str, draw: Draw) -> float | None:
        if role.startswith("client"):
            return self.kill_client(role, draw)
        if role in ("watchdog", "everything"):
            doomed = set(processes.below()) - self.clients.pids() if role == "everything" else set()
            self.struck = time.time()
            processes.kill_all(list(doomed))
            self.stack.kill()
            self.stack.start()
            return 0.0
        pids = processes.with_role(role)
        self.struck = time.time()
        return 0.0 if pids and processes.send(draw.one_of(pids), signal.SIGKILL) else None

    def kill_client(self, role: str, draw: Draw) -> float:
        name = draw.one_of(self.clients.victims())
        self.clients.kill(name)
        # One that comes back submits its open tasks again; those of one that does not are read by another.
        self.clients.start(name if role == "client" else f"{name.split('.')[0]}.{len(self.done)}")
        return 0.0

    def pause(self, role: str, seconds: tuple[float, float], draw: Draw) -> float | None:
        if role == "client":
            pids = [self.clients.running[name].pid for name in self.clients.victims()]
        elif role == "watchdog":
            pids = [self.stack.process.pid]
        else:
            pids = processes.with_role(role)
        pid = draw.one_of(pids) if pids else 0
        if not pid or pid in self.healing or not processes.send(pid, signal.SIGSTOP):
            return None
        length = draw.within(seconds)
        self.later(pid, length, lambda: processes.send(pid, signal.SIGCONT))
        return length

    def break_link(self, link: Link, how: list[str], draw: Draw) -> float | None:
        if how[0] in ("cut", "lose"):
            link.cut() if how[0] == "cut" else link.lose()
            return 0.0
        if link in self.healing:
            return None
        length = draw.within({"refuse": REFUSED}.get(how[0], LONG if "long" in how else SHORT))
        if how[0] == "refuse":
            link.refuse()
        elif how[0] == "delay":
            link.delay(draw.within(LATENCY))
        else:
            link.stall(*draw.way)
        self.later(link, length, link.restore)
        return length

    # The end of pauses and broken links

    def later(self, what: object, length: float, action: Callable[[], object]) -> None:
        def act() -> None:
            action()
            self.healing.pop(what, None)

        timer = threading.Timer(length, act)
        self.healing[what] = timer
        timer.start()

    def heal(self) -> None:
        """Ends all that lasts."""
        for timer in list(self.healing.values()):
            timer.cancel()
            timer.function()
