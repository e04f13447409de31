"""One running peer: its driver is a process of its own, asked by lines of JSON; see `speak.py`."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from bench.peers.environment import HERE
from bench.processes import below, cpu_of, memory_of, switches, tree
from bench.stack import BINARY

READY_S, ANSWER_S, END_S = 90, 60, 15


class Failed(Exception):
    """The peer did not do what it was asked; says why."""


class Driver:
    """A started peer: `started_s` is the time from nothing to its first result."""

    def __init__(
        self,
        name: str,
        variant: str,
        python: str,
        place: Path,
        binary: Path = Path(BINARY),
        package: Path | None = None,
    ) -> None:
        """`binary` and `package` (a folder of Python packages) are those of ours, when not the usual ones."""
        self.log = place / "log"
        settings = {key: value for key, value in os.environ.items() if not key.startswith("BURSA_")}
        settings |= {
            "BURSA_BIN": str(binary.resolve()),
            "PATH": f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(str(path) for path in (HERE, package) if path),
            "HOME": str(place),
        }
        began = time.perf_counter()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [python, str(HERE / name / "drive.py"), variant],
                cwd=place,
                env=settings,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        try:
            self.answer(READY_S)
        except Failed:
            self.end()
            raise
        self.started_s = time.perf_counter() - began

    def ask(self, measure: str, **given: object) -> dict:
        """The answer, with the CPU seconds and context switches of all the peer's processes added."""
        before, switched = self.cpu_s(), switches(tree(self.process.pid))
        self.say(measure, given)
        found = self.answer(ANSWER_S)
        found["cpu_s"] = self.cpu_s() - before
        found["switches"] = switches(tree(self.process.pid)) - switched
        return found

    def weigh(self, count: int, seconds: float) -> dict[str, float]:
        """Bytes of memory that each of `count` queued calls takes in all the peer's processes together."""
        before = self.memory_mb()["pss"]
        self.say("queue", {"n": count, "seconds": seconds})
        time.sleep(0.85 * seconds)
        queued = self.memory_mb()["pss"]
        self.answer(ANSWER_S)
        return {"n": count, "bytes": (queued - before) * 2**20 / count}

    def say(self, measure: str, given: dict) -> None:
        try:
            self.process.stdin.write((json.dumps({"measure": measure, **given}) + "\n").encode())
            self.process.stdin.flush()
        except OSError:
            raise Failed(self.last_words("it ended")) from None

    def answer(self, within_s: float) -> dict:
        ready, _, _ = select.select([self.process.stdout], [], [], within_s)
        if not ready:
            raise Failed(self.last_words(f"no answer within {within_s:g} s"))
        line = self.process.stdout.readline()
        if not line:
            raise Failed(self.last_words("it ended"))
        found = json.loads(line)
        if "error" in found:
            raise Failed(found["error"])
        return found

    def last_words(self, what: str) -> str:
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return f"{what}; its last line: {lines[-1][:200]}" if lines else what

    def cpu_s(self) -> float:
        return cpu_of(tree(self.process.pid))

    def memory_mb(self) -> dict[str, float]:
        return memory_of(tree(self.process.pid))

    def end(self) -> None:
        """Closes it; what is left of it after a while is killed."""
        left = {pid: born(pid) for pid in below(self.process.pid)}
        with suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            left |= {pid: born(pid) for pid in tree(self.process.pid)}
        for pid, moment in left.items():
            if moment and born(pid) == moment:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


def born(pid: int) -> str:
    """When it was started: tells a process from a later one of the same number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
