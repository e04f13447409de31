"""Proves or breaks "accepted means it ends exactly once": a steady load, and everything is killed and paused.

    make chaos MINUTES=5          or: python tests/chaos/chaos.py --minutes 5 --seed 42

Exits 1 on any violation and keeps home, journals and logs then.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path

import bursa
import journal
import processes
import verdict as verdicts
from calls import work
from faults import Faults
from stack import Clients, Stack, Violation, nothing_left

PATIENCE = 120.0
"""Seconds without any task that ends after which those left count as lost."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--workers", type=int, default=6)
    parser.add_argument("--rate", type=float, default=16.0, help="tasks per second and client")
    parser.add_argument("--gap", type=float, default=1.5, help="mean seconds between two faults")
    parser.add_argument("--only", default="", help="only faults whose kind has this in its name")
    parser.add_argument("--keep", action="store_true", help="keep home and logs of a clean run too")
    given = parser.parse_args()
    print(f"seed {given.seed}, {given.minutes:g} minutes", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="bursa-chaos-"))
    processes.adopt_orphans()
    violations = run(given, folder)
    for violation in violations[:50]:
        print(f"VIOLATION: {violation}")
    if violations or given.keep:
        print(f"{len(violations)} violations; home, journals and logs: {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if violations else 0


def run(given: argparse.Namespace, folder: Path) -> list[str]:
    """One run; its violations. Nothing runs any more when it returns."""
    executed = folder / "executed"
    executed.mkdir()
    stack = Stack(folder / "home", given.workers)
    faults, clients, problems = None, None, []
    try:
        ready = stack.start()
        with bursa.Client(ready["url"], ready["token"]) as client:
            function = client.register(work, "chaos")
            common = {**ready, "endpoint": ready["endpoint_id"], "function": function, "folder": executed}
            clients = Clients(folder, options(common, given), stack.environment)
            for number in range(given.clients):
                clients.start(f"c{number}")
            faults = Faults(given.seed, stack, clients, given.gap)
            faults.table = [(kind, weight) for kind, weight in faults.table if given.only in kind]
            problems += storm(faults, given.minutes * 60)
            clients.stop(PATIENCE)
            problems += clients.findings
            known = journal.read(*clients.journals())
            verdict = verdicts.judge(client, known, list(clients.groups.values()), PATIENCE)
            ran = verdicts.executions(executed)
            verdict.executed_again = sum(count - 1 for count in ran.values())
            report(faults, verdict, known, stack)
            problems += verdict.violations
        print(f"stopped in {stack.stop():.1f} s")
    except Violation as violation:
        problems.append(str(violation))
    finally:
        if faults is not None:
            faults.resume_all()
        if clients is not None:
            processes.kill_all(list(clients.pids()))
        if stack.process is not None and stack.process.poll() is None:
            stack.kill()
            problems.append("the stack had to be killed")
    return problems + [f"left behind: {line}" for line in nothing_left(5.0)]


def storm(faults: Faults, seconds: float) -> list[str]:
    """All the faults. A product that broke under them is asked for its tasks nevertheless."""
    try:
        faults.run(seconds)
    except Violation as violation:
        faults.resume_all()
        faults.stack.start()
        return [str(violation)]
    faults.resume_all()
    return []


def options(common: dict, given: argparse.Namespace) -> list[str]:
    names = ["url", "token", "endpoint", "function", "folder"]
    found = [part for name in names for part in (f"--{name}", str(common[name]))]
    return [*found, "--seed", str(given.seed), "--rate", str(given.rate)]


def report(faults: Faults, verdict: verdicts.Verdict, known: journal.Known, stack: Stack) -> None:
    times = verdicts.recoveries(faults.done, known)
    counts = Counter(fault.kind for fault in faults.done)
    print(f"{'fault':<26}{'times':>6}{'recovery p50':>14}{'max':>9}")
    for kind in sorted(counts):
        seconds = times.get(kind, [])
        middle, most = (statistics.median(seconds), max(seconds)) if seconds else (0.0, 0.0)
        print(f"{kind:<26}{counts[kind]:>6}{middle:>12.2f} s{most:>7.2f} s")
    print(f"faults {len(faults.done)}, starts of `bursa up` that were refused meanwhile {stack.refusals}")
    print(
        f"tasks {verdict.tasks}, success {verdict.ended['success']}, failed {verdict.ended['failed']}, "
        f"cancelled {verdict.ended['cancelled']}, never accepted {verdict.never_accepted}"
    )
    print(
        f"lost {len(verdict.lost)}, wrong values {len(verdict.wrong)}, "
        f"duplicated results {len(verdict.duplicated)}, duplicate executions {verdict.executed_again}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
