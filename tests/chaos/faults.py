"""What is done to the processes, and when."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import deque
from typing import NamedTuple

import processes
from stack import Clients, Stack

KILLS = {
    "service": 4,
    "manager": 4,
    "executor": 4,
    "zygote": 4,
    "worker": 10,
    "client": 4,
    "client-for-good": 2,
}
PAUSES = {"service": 2, "manager": 2, "executor": 3, "zygote": 2, "worker": 3, "client": 2, "watchdog": 1}
SHORT, LONG = (0.05, 2.0), (4.5, 9.0)
"""Seconds of a pause: below every threshold, and above."""
PER_MINUTE = 3
"""Deaths of service and manager that the watchdog bears: it gives up at the fifth within a minute."""


class Fault(NamedTuple):
    kind: str
    at: float


class Faults:
    """Draws faults from one seed and does them."""

    def __init__(self, seed: int, stack: Stack, clients: Clients, gap: float) -> None:
        self.random = random.Random(seed)
        self.stack, self.clients, self.gap = stack, clients, gap
        self.done: list[Fault] = []
        self.paused: dict[int, threading.Timer] = {}
        self.deaths = {"service": deque(), "manager": deque()}
        self.table = [
            *((f"kill {role}", weight) for role, weight in KILLS.items()),
            ("kill watchdog", 2),
            *((f"pause {role}", weight) for role, weight in PAUSES.items()),
            *((f"pause long {role}", weight) for role, weight in PAUSES.items()),
        ]

    def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, self.random.expovariate(1 / self.gap)))
            kinds, weights = zip(*self.table)
            self.do(self.random.choices(kinds, weights)[0])
            self.stack.check()
            self.clients.check()
            processes.reap({self.stack.process.pid, *self.clients.pids()})

    def do(self, kind: str) -> None:
        action, *how, role = kind.split()
        happened = self.pause(role, LONG if how else SHORT) if action == "pause" else self.kill(role)
        if happened:
            self.done.append(Fault(kind, happened))

    def kill(self, role: str) -> float:
        if role.startswith("client"):
            return self.kill_client(role)
        if role == "watchdog":
            now = time.time()
            self.stack.kill()
            self.stack.start()
            return now
        if role in self.deaths and not self.bearable(role):
            return 0.0
        pids = processes.with_role(role)
        now = time.time()
        return now if pids and processes.send(self.random.choice(pids), signal.SIGKILL) else 0.0

    def bearable(self, role: str) -> bool:
        """Whether the watchdog bears one more death of this child."""
        deaths, now = self.deaths[role], time.monotonic()
        while deaths and now - deaths[0] > 61:
            deaths.popleft()
        if len(deaths) >= PER_MINUTE:
            return False
        deaths.append(now)
        return True

    def kill_client(self, role: str) -> float:
        name = self.random.choice(sorted(self.clients.running))
        now = time.time()
        self.clients.kill(name)
        # One that comes back submits its open tasks again; those of one that does not are read by another.
        self.clients.start(name if role == "client" else f"{name.split('.')[0]}.{len(self.done)}")
        return now

    def pause(self, role: str, seconds: tuple[float, float]) -> float:
        if role == "client":
            pids = sorted(self.clients.pids())
        elif role == "watchdog":
            pids = [self.stack.process.pid]
        else:
            pids = processes.with_role(role)
        pid = self.random.choice(pids) if pids else 0
        length = self.random.uniform(*seconds)
        if not pid or pid in self.paused or not processes.send(pid, signal.SIGSTOP):
            return 0.0
        timer = threading.Timer(length, self.resume, (pid,))
        self.paused[pid] = timer
        timer.start()
        return time.time()

    def resume(self, pid: int) -> None:
        processes.send(pid, signal.SIGCONT)
        self.paused.pop(pid, None)

    def resume_all(self) -> None:
        for pid, timer in list(self.paused.items()):
            timer.cancel()
            self.resume(pid)
