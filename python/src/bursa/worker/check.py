"""What a worker in this sandbox has and lacks, found out by being one: for `bursa endpoint check`."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Dict, List, Tuple

from .confine import Confinement
from .visible import WORK

Finding = Tuple[str, bool, str]
"""(what, whether it is as it should be, what was found)"""


def main(told: Dict[str, Any]) -> None:
    """Prints a JSON list of findings on stdout; run inside, in the place of the zygote."""
    confinement = Confinement(told)
    confinement.open()
    _in_child(lambda: _in_namespace(confinement, told))


def _in_namespace(confinement: Confinement, told: Dict[str, Any]) -> None:
    confinement.furnish()
    _in_child(lambda: _look(confinement, told))


def _in_child(work: Any) -> None:
    child = os.fork()
    if child == 0:
        try:
            work()
        except OSError as error:
            sys.exit(str(error))
        sys.exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(1)


def _look(confinement: Confinement, told: Dict[str, Any]) -> None:
    confinement.seal()
    with open("/proc/self/status") as status:
        fields = dict(line.rstrip("\n").partition(":\t")[::2] for line in status)
    user = os.getuid()
    seen = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
    powers = int(fields["CapEff"], 16) | int(fields["CapBnd"], 16)
    space = os.statvfs(WORK)
    findings: List[Finding] = [
        ("user", user != 0, f"functions run as user {user}, in a user namespace of each worker"),
        (
            "processes",
            seen == [1, 2],
            f"a worker sees {len(seen)} processes: itself and the first of its namespace",
        ),
        ("files", not _can_write("/") and not _can_write("/usr"), _files(told)),
        ("scratch", True, f"{space.f_blocks * space.f_frsize >> 20} MiB of memory for files of each worker"),
        ("privileges", not powers and fields["NoNewPrivs"] == "1", "no capabilities, and none to be had"),
        ("system calls", fields["Seccomp"] == "2", "a filter refuses those that reach outside"),
    ]
    print(json.dumps(findings), flush=True)


def _can_write(directory: str) -> bool:
    try:
        os.mkdir(os.path.join(directory, ".bursa-check"))
    except OSError:
        return False
    os.rmdir(os.path.join(directory, ".bursa-check"))
    return True


def _files(told: Dict[str, Any]) -> str:
    etc = [path for path in told["read"] if not path.startswith("/etc/")]
    return f"readable: {', '.join(etc)}; writable: {', '.join(told['write']) or 'nothing of the host'}"
