"""Two commits beside each other: A B A B …, each with its own binary, worker and client.

python -m bench.compare A B     # or: make bench-compare A=commit B=commit

Builds both in worktrees under target/compare. Medians, the least and the most of all passes; a difference is
claimed only where the two spreads do not overlap.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import machine
from bench.peers.driver import Driver
from bench.stack import RESULTS, ROOT

PASSES = int(os.environ.get("PASSES", "7"))
LEAST_PASSES = 5
"""With fewer, spreads are apart by chance."""
ONE_S, ECHO_S = 2.0, 2.0
PLACE = ROOT / "target/compare"


def built(revision: str) -> tuple[str, Path]:
    """The commit's short name and its tree, with a release binary in it."""
    commit = output("git", "-C", str(ROOT), "rev-parse", "--short=10", f"{revision}^{{commit}}")
    tree = PLACE / commit
    if not tree.exists():
        output("git", "-C", str(ROOT), "worktree", "add", "--detach", "--force", str(tree), commit)
    if not binary_of(commit).exists():
        machine.progress(f"building {commit}")
        environment = {**os.environ, "CARGO_TARGET_DIR": str(PLACE / "target")}
        build = ["cargo", "build", "--quiet", "--release", "--locked", "-p", "bursa"]
        subprocess.run(build, cwd=tree, env=environment, check=True)
        binary_of(commit).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PLACE / "target/release/bursa", binary_of(commit))
    return commit, tree


def binary_of(commit: str) -> Path:
    return PLACE / "bin" / commit / "bursa"


def output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout.strip()


def one_pass(commit: str, tree: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="run-", dir=PLACE) as place:
        driver = Driver("bursa", "", sys.executable, Path(place), binary_of(commit), tree / "python/src")
        try:
            driver.ask("noop", n=1_000)
            small, large = driver.ask("noop", n=10_000), driver.ask("noop", n=100_000)
            one, echo = driver.ask("one", seconds=ONE_S, n=2_000), driver.ask("echo", seconds=ECHO_S, n=100)
        finally:
            driver.end()
    ordered = sorted(one["ms"])
    return {
        "10,000 no-ops, tasks/s": 10_000 / small["seconds"],
        "10,000 no-ops, CPU µs per task": 1e6 * small["cpu_s"] / 10_000,
        "100,000 no-ops, tasks/s": 100_000 / large["seconds"],
        "100,000 no-ops, CPU µs per task": 1e6 * large["cpu_s"] / 100_000,
        "one at a time, p50 ms": statistics.median(ordered),
        "one at a time, p99 ms": ordered[int(0.99 * len(ordered))],
        "one at a time, CPU µs per call": 1e6 * one["cpu_s"] / len(ordered),
        "one at a time, context switches per call": one["switches"] / len(ordered),
        "1 MiB echo, p50 ms": statistics.median(echo["ms"]),
        "1 MiB echo, CPU ms per call": 1e3 * echo["cpu_s"] / len(echo["ms"]),
    }


def verdict(a: list[float], b: list[float]) -> str:
    """Whether a difference may be claimed."""
    if len(a) < LEAST_PASSES:
        return f"no claim: fewer than {LEAST_PASSES} passes"
    if max(a) < min(b) or max(b) < min(a):
        return f"B is {statistics.median(b) / statistics.median(a):.2f} × A"
    return "no claim: the spreads overlap"


def table(a: str, b: str, found: dict[str, dict[str, list[float]]]) -> str:
    lines = [f"| metric | A = {a} | B = {b} | B / A | |", "|---|---|---|---|---|"]
    for metric, both in found.items():
        cells = [f"{statistics.median(v):,.5g} ({min(v):,.5g} – {max(v):,.5g})" for v in both.values()]
        ratio = statistics.median(y / x for x, y in zip(both["A"], both["B"]))
        lines.append(
            f"| {metric} | {cells[0]} | {cells[1]} | {ratio:.3f} | {verdict(both['A'], both['B'])} |"
        )
    return "\n".join(lines)


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit("two commits are needed: python -m bench.compare A B")
    PLACE.mkdir(parents=True, exist_ok=True)
    sides = {"A": built(sys.argv[1]), "B": built(sys.argv[2])}
    found: dict[str, dict[str, list[float]]] = {}
    with machine.Watch() as watch:
        for number in range(PASSES):
            machine.progress(f"pass {number + 1} of {PASSES}")
            for side, (commit, tree) in sides.items():
                for metric, value in one_pass(commit, tree).items():
                    found.setdefault(metric, {"A": [], "B": []})[side].append(value)
    commits = {side: commit for side, (commit, _) in sides.items()}
    RESULTS.mkdir(parents=True, exist_ok=True)
    report = {"machine": machine.about(), "meanwhile": watch.found, **commits, "passes": found}
    (RESULTS / "compare.json").write_text(json.dumps(report, indent=2) + "\n")
    print(table(commits["A"], commits["B"], found))
    others = watch.found["others_share"]
    print(f"\nmedian (least – most) of {PASSES} passes; others used {others:.0%} of the machine")
    print("written to bench/results/compare.json; the worktrees in target/compare are kept for the next run")


if __name__ == "__main__":
    main()
