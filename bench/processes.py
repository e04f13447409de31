"""What the kernel counts for a tree of processes: CPU, memory, context switches."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def below(pid: int) -> Iterator[int]:
    """Every descendant that lives."""
    for task in listed(pid):
        try:
            children = (task / "children").read_text().split()
        except OSError:
            continue
        for child in children:
            yield int(child)
            yield from below(int(child))


def tree(pid: int) -> list[int]:
    return [pid, *below(pid)]


def listed(pid: int) -> list[Path]:
    """The threads of a process; none when it has ended."""
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def words(pid: int) -> list[str]:
    """Its command line."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and of its children that have ended and been waited for."""
    try:
        own = time.clock_gettime((~pid << 3) | 2)  # its CPU clock, in nanoseconds; see clock_getcpuclockid(3)
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return own + (int(fields[13]) + int(fields[14])) / TICK


def cpu_of(pids: Iterable[int]) -> float:
    return sum(cpu_s(pid) for pid in pids)


def memory_mb(pid: int) -> dict[str, float]:
    """`rss`: resident; `pss`: the same, a shared page split among its users; `most`: the highest rss."""
    try:
        rollup = fields_of(Path(f"/proc/{pid}/smaps_rollup"))
        status = fields_of(Path(f"/proc/{pid}/status"))
    except OSError:
        return {"rss": 0.0, "pss": 0.0, "most": 0.0}
    return {
        "rss": kilobytes(rollup, "Rss") / 1024,
        "pss": kilobytes(rollup, "Pss") / 1024,
        "most": kilobytes(status, "VmHWM") / 1024,
    }


def memory_of(pids: Iterable[int]) -> dict[str, float]:
    total = {"rss": 0.0, "pss": 0.0}
    for pid in pids:
        used = memory_mb(pid)
        total = {name: total[name] + used[name] for name in total}
    return total


def switches(pids: Iterable[int]) -> int:
    """Context switches so far, of the threads that live."""
    total = 0
    for pid in pids:
        for thread in listed(pid):
            try:
                found = fields_of(thread / "status")
            except OSError:
                continue
            total += int(found["voluntary_ctxt_switches"]) + int(found["nonvoluntary_ctxt_switches"])
    return total


def fields_of(path: Path) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    return {name: value.strip() for name, value in pairs}


def kilobytes(fields: dict[str, str], name: str) -> int:
    return int(fields.get(name, "0").split()[0])
