"""What one task costs each machine and the codec, in instructions and allocations: a gate without a clock.

    make instructions             # compares with bench/instructions.json
    make instructions UPDATE=1    # writes it anew: the new figures are part of the change that caused them

Fixed workloads of `crates/core/benches/costs` run under callgrind. The figures depend on compiler and C
library, hence the tolerance; neither on the processor, whose newer instructions libc is told not to use, nor
on what else runs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "bench/instructions.json"
WORKLOADS = ["burst", "single", "wide"]
TOLERANCE = 0.05
# libc picks its copies by what the processor can do; these are what every one of its architecture can.
PLAIN = "glibc.cpu.hwcaps=-AVX2,-AVX512F,-AVX512VL,-AVX,-ERMS,-FSRM,-SSSE3,-AVX_Fast_Unaligned_Load"

Figures = dict[str, float]


def main() -> int:
    binary, compiler = build(), version()
    counts = shutil.which("valgrind") is not None
    if not counts:
        text = "valgrind is not installed, so instructions are not counted: sudo apt install valgrind"
        if os.environ.get("CI") or "--update" in sys.argv:
            sys.exit(text)
        print(text)
    found = {f"{name} {figure}": value for name in WORKLOADS for figure, value in run(binary, name, counts)}
    if "--update" in sys.argv:
        FIGURES.write_text(json.dumps({"compiler": compiler, "figures": found}, indent=1) + "\n")
        print(f"{FIGURES.relative_to(ROOT)} is written")
        return 0
    committed = json.loads(FIGURES.read_text())
    problems = list(compare(committed["figures"], found, counts))
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        hint = (
            ""
            if compiler == committed["compiler"]
            else f" (they are of {committed['compiler']}, this is {compiler})"
        )
        print(f"If that is meant, accept the new figures: make instructions UPDATE=1{hint}", file=sys.stderr)
        return 1
    show(found)
    return 0


def build() -> Path:
    command = ["cargo", "bench", "--locked", "-p", "bursa-core", "--bench", "costs", "--no-run"]
    lines = subprocess.run(
        [*command, "--message-format=json"], cwd=ROOT, check=True, capture_output=True
    ).stdout
    built = [json.loads(line) for line in lines.splitlines()]
    return Path(next(item["executable"] for item in built if item.get("target", {}).get("name") == "costs"))


def version() -> str:
    return subprocess.run(
        ["rustc", "--version"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


def run(binary: Path, workload: str, counts: bool) -> list[tuple[str, float]]:
    """Figures of one workload: allocations and instructions of each part, per task."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        valgrind = ["valgrind", "-q", "--tool=callgrind", "--compress-strings=no", "--compress-pos=no"]
        command = [*valgrind, f"--callgrind-out-file={out}", str(binary)] if counts else [str(binary)]
        env = {"PATH": os.environ["PATH"], "GLIBC_TUNABLES": PLAIN}
        result = json.loads(
            subprocess.run([*command, workload], env=env, check=True, capture_output=True).stdout
        )
        spent = instructions(out) if counts else {}
    figures = []
    for part, cost in result["parts"].items():
        if counts:
            figures.append((f"{part} instructions", round(spent[part] / result["tasks"])))
        figures.append((f"{part} allocations", round(cost["allocations"] / result["tasks"], 3)))
    return [*figures, ("bytes on the wire", result["bytes_per_task"])]


def instructions(out: Path) -> dict[str, int]:
    """Instructions spent in, and below, each function `<part>_turn`."""
    spent: dict[str, int] = {}
    part = None
    for line in out.read_text().splitlines():
        if line.startswith("fn="):
            found = next((word for word in line.split("::") if word.endswith("_turn")), None)
            part = found.removesuffix("_turn") if found else None
        elif part and line[:1].isdigit():
            # Its own, or those of a call; both are the second number.
            spent[part] = spent.get(part, 0) + int(line.split()[1])
    return spent


def compare(committed: Figures, found: Figures, counts: bool) -> list[str]:
    problems = []
    for name in sorted(committed.keys() | found.keys()):
        old, new = committed.get(name), found.get(name)
        if new is None and name.endswith("instructions") and not counts:
            continue
        if old is None or new is None:
            problems.append(f"{name}: {old} -> {new}, one of them is not there")
        elif name.endswith("instructions"):
            if abs(new - old) > TOLERANCE * old:
                problems.append(
                    f"{name} per task: {old} -> {new} ({new / old - 1:+.1%}, {TOLERANCE:.0%} is allowed)"
                )
        elif old != new:
            problems.append(f"{name} per task: {old} -> {new} (this figure is exact)")
    return problems


def show(found: Figures) -> None:
    for name, value in found.items():
        print(f"{name:34} {value:>10}")


if __name__ == "__main__":
    sys.exit(main())
