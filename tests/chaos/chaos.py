"""Proves or breaks "accepted means it ends exactly once": everything is killed, paused and cut under load.

    make chaos MINUTES=5          or: python tests/chaos/chaos.py --minutes 5 --seed 42

Exits 1 on any violation and keeps home, journals and logs then. Recovery is judged in runs of JUDGED_MINUTES
and more: it takes many faults to tell the product's time from that of a busy machine.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

import bursa
import journal
import processes
import recovery
import verdict as verdicts
from calls import work
from faults import Faults
from stack import Clients, Stack, Violation, nothing_left

JUDGED_MINUTES = 8.0
PATIENCE = 120.0
"""Seconds without any task that ends after which those left count as lost."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--executors", type=int, default=2)
    parser.add_argument("--workers", type=int, default=4, help="of each executor")
    parser.add_argument("--rate", type=float, default=12.0, help="tasks per second and client")
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
    stack = Stack(folder / "home", given.executors, given.workers)
    faults, clients, problems = None, None, []
    try:
        ready = stack.start()
        with bursa.Client(ready["url"], ready["token"]) as client:
            function = client.register(work, "chaos")
            common = {"token": ready["token"], "endpoint": ready["endpoint_id"], "function": function}
            common |= {"url": stack.url, "folder": executed, "seed": given.seed}
            options = [part for name, value in common.items() for part in (f"--{name}", str(value))]
            clients = Clients(folder, options, given.rate, stack.environment)
            for name in [Clients.PROBE, *(f"c{number}" for number in range(given.clients))]:
                clients.start(name)
            faults = Faults(given.seed, stack, clients, given.gap, given.only)
            problems += all_faults(faults, given.minutes * 60)
            clients.stop(PATIENCE)
            problems += clients.findings
            known = journal.read(*clients.journals())
            verdict = verdicts.judge(client, known, list(clients.groups.values()), PATIENCE)
            above = report(faults, verdict, known, recovery.begun(executed), stack)
            problems += verdict.violations + (above if given.minutes >= JUDGED_MINUTES else [])
        print(f"stopped in {stack.stop():.1f} s")
    except Violation as violation:
        problems.append(str(violation))
    finally:
        if faults is not None:
            faults.heal()
        if clients is not None:
            processes.kill_all(list(clients.pids()))
        if stack.process is not None and stack.process.poll() is None:
            stack.kill()
            problems.append("the stack had to be killed")
    return problems + [f"left behind: {line}" for line in nothing_left(5.0)]


def all_faults(faults: Faults, seconds: float) -> list[str]:
    """A product that broke under them is asked for its tasks nevertheless."""
    try:
        faults.run(seconds)
    except Violation as violation:
        faults.heal()
        if faults.stack.process.poll() is not None:
            faults.stack.start()
        return [str(violation)]
    faults.heal()
    return []


def report(
    faults: Faults,
    verdict: verdicts.Verdict,
    known: journal.Known,
    began: dict[str, list[float]],
    stack: Stack,
) -> list[str]:
    """Prints what happened; which recoveries took longer than they should."""
    lines, above = recovery.table(faults.done, recovery.Recovery(known, began))
    print("seconds from a fault, or from its end, until all was well, where it came alone:")
    print("\n".join(lines))
    again = sum(len(times) - 1 for times in began.values())
    print(f"faults {len(faults.done)}, starts of `bursa up` that were refused meanwhile {stack.refusals}")
    print(
        f"tasks {verdict.tasks}, success {verdict.ended['success']}, failed {verdict.ended['failed']}, "
        f"cancelled {verdict.ended['cancelled']}, never accepted {verdict.never_accepted}"
    )
    print(
        f"lost {len(verdict.lost)}, wrong values {len(verdict.wrong)}, "
        f"duplicated results {len(verdict.duplicated)}, duplicate executions {again}",
        flush=True,
    )
    for line in above:
        print(f"above its target: {line}")
    return above


if __name__ == "__main__":
    sys.exit(main())
