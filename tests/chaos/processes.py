"""Processes below this one: found by role, ended, counted. This process adopts what loses its parent."""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """From now on nothing below this process can get away from it."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def below() -> dict[int, str]:
    """Every live process below this one, with its command line."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if fields[0] != "Z":
                    children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: dict[int, str] = {}
    waiting = [os.getpid()]
    while waiting:
        for child in children.get(waiting.pop(), []):
            waiting.append(child)
            with suppress(OSError):
                line = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                found[child] = line.strip()
    return found


def parent_of(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def numbers(pid: int) -> list[str]:
    """The numbers of a process in its pid namespaces, from ours inwards."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/status").read_text().partition("NSpid:")[2].split("\n")[0].split()
    return []


def with_role(role: str) -> list[int]:
    """Pids by role."""
    found = below()
    python = {pid for pid, line in found.items() if "bursa.worker" in line.split()}
    if role in ("zygote", "worker"):
        # A zygote is the first process of its pid namespace, a worker the second of its own within that.
        place = (2, "1") if role == "zygote" else (3, "2")
        return sorted(
            pid for pid in python if (len(numbers(pid)), numbers(pid)[-1:]) == (place[0], [place[1]])
        )
    return sorted(pid for pid, line in found.items() if role in line.split() and pid not in python)


def send(pid: int, number: int) -> bool:
    """False: it is gone already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def reap(ours: set[int]) -> None:
    """Buries adopted processes, but leaves `ours` to those who wait for them."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in ours and parent_of(int(entry.name)) == os.getpid():
            with suppress(ChildProcessError):
                os.waitpid(int(entry.name), os.WNOHANG)


def kill_all(pids: list[int]) -> None:
    for pid in pids:
        send(pid, signal.SIGKILL)
