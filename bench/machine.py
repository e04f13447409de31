"""Where and when a figure was taken, and who else was at work meanwhile."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

from bench.processes import TICK, cpu_of, tree
from bench.stack import BINARY, ROOT


def about() -> dict[str, object]:
    """The machine, the versions and the commit."""
    return {
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": said("git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"),
        "bursa": said(BINARY, "--version"),
        "cores": os.cpu_count(),
        "cpu": cpu_model(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": load(),
    }


def said(*command: str) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def load() -> float:
    """Of the last minute."""
    return round(os.getloadavg()[0], 2)


def busy_s() -> float:
    """CPU seconds that the whole machine has used since it started."""
    user, nice, system, _idle, _iowait, irq, softirq, *_ = Path("/proc/stat").read_text().split()[1:11]
    return sum(map(int, (user, nice, system, irq, softirq))) / TICK


class Watch:
    """While it is entered: CPU seconds of this process and all below it, and of everybody else."""

    def __enter__(self) -> Watch:
        self._began = (time.perf_counter(), busy_s(), cpu_of(tree(os.getpid())))
        return self

    def __exit__(self, *exc: object) -> None:
        began, busy, ours = self._began
        seconds = time.perf_counter() - began
        ours = max(0.0, cpu_of(tree(os.getpid())) - ours)
        others = max(0.0, busy_s() - busy - ours)
        self.found = {
            "seconds": round(seconds, 2),
            "load_average": load(),
            "cpu_s": round(ours, 2),
            "others_cpu_s": round(others, 2),
            "others_share": round(others / seconds / (os.cpu_count() or 1), 3),
        }


def progress(text: str) -> None:
    """To stderr: the table goes to stdout."""
    print(text, file=sys.stderr, flush=True)
