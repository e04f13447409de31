"""What makes a fork of the zygote a sandbox of its own: namespaces, scratch, and the last door closed behind
it.
The zygote lives in bubblewrap's namespaces and may make others; it never runs user code. Each worker gets
pid, mount, ipc and user namespaces, a tmpfs for all that it writes, no capability, and a filter of system
calls. The first process of its pid namespace is a fork too, which waits and tells how the worker ended.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
from contextlib import suppress
from typing import Any, Dict, List

from . import visible
from .visible import OWN, WORK, is_below

_NEWNS, _NEWIPC, _NEWUSER, _NEWPID = 0x20000, 0x8000000, 0x10000000, 0x20000000
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _BIND, _REC = 1, 2, 4, 8, 4096, 16384
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_DROP = 1, 4, 22, 24
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _CLEAR_ALL, _FILTER = 38, 47, 4, 2
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446
_CAPABILITIES_V3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p] * 3 + [ctypes.c_ulong, ctypes.c_char_p]
_libc.syscall.restype = ctypes.c_long
_libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def _must(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"the sandbox cannot {what}: {os.strerror(code)}; see `bursa endpoint check`")


def prctl(option: int, *arguments: int) -> int:
    return _libc.prctl(option, *(*arguments, 0, 0, 0, 0)[:4])


class Confinement:
    """What the endpoint says: `scratch` bytes, `inodes`, the `filter`, the directories `again`, `read` and
    `write` of `enclose.seen`, and what limits processes: their `numbers`, or `processes` (0: not here)."""

    def __init__(self, told: Dict[str, Any]) -> None:
        self._told = told
        self._filter = bytes.fromhex(told["filter"])
        self._own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._host_proc = -1

    def open(self) -> None:
        """The next fork begins a pid namespace."""
        _must(_libc.unshare(_NEWPID), "make a pid namespace")

    def close(self) -> None:
        """Back to the zygote's own."""
        _must(_libc.setns(self._own_pids, _NEWPID), "go back to its pid namespace")

    def furnish(self) -> None:
        """In the first process of the new namespace: its mounts."""
        os.close(self._own_pids)
        _must(_libc.unshare(_NEWNS | _NEWIPC), "make a mount namespace")
        self._host_proc = os.open("/proc", os.O_PATH | os.O_CLOEXEC)
        if self._told["numbers"]:
            self._write("sys/kernel/pid_max", str(self._told["numbers"] + 1))
        again = [(path, os.open(path, os.O_PATH | os.O_CLOEXEC)) for path in self._told["again"]]
        size = f"size={self._told['scratch']},nr_inodes={self._told['inodes']},mode=755"
        _mount("tmpfs", WORK, "tmpfs", _NOSUID | _NODEV, size)
        for name, target, mode in (("tmp", "/tmp", 0o1777), ("shm", "/dev/shm", 0o1777)):
            os.mkdir(f"{WORK}/{name}")
            os.chmod(f"{WORK}/{name}", mode)
            _mount(f"{WORK}/{name}", target, "", _BIND)
        for path, descriptor in again:
            _mount_point(path, os.path.isdir(f"/proc/self/fd/{descriptor}"))
            _mount(f"/proc/self/fd/{descriptor}", path, "", _BIND | _REC)
            os.close(descriptor)
        os.mkdir(f"{WORK}/work", 0o700)
        _mount(f"{WORK}/work", WORK, "", _BIND)
        _mount("proc", "/proc", "proc", _RDONLY | _NOSUID | _NODEV | _NOEXEC)

    def seal(self) -> Scratch:
        """In the worker: nothing is given up after this, since nothing is left."""
        user, group = os.getuid(), os.getgid()
        _must(_libc.unshare(_NEWUSER), "make a user namespace")
        self._write("self/setgroups", "deny")
        self._write("self/uid_map", f"{user} {user} 1")
        self._write("self/gid_map", f"{group} {group} 1")
        os.close(self._host_proc)
        os.chdir(WORK)
        os.environ["HOME"] = WORK
        os.environ["TMPDIR"] = "/tmp"
        os.environ["GC_TASK_SANDBOX_DIR"] = WORK  # by which ShellFunction of Globus Compute knows it
        scratch = Scratch(self._told["again"])
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if self._told["processes"]:
            resource.setrlimit(resource.RLIMIT_NPROC, (self._told["processes"],) * 2)
        _drop_capabilities()
        # Both were reset with the credentials.
        prctl(_PR_SET_DUMPABLE, 1)
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        _must(prctl(_PR_SET_NO_NEW_PRIVS, 1), "give up new privileges")
        _keep_to_own_sockets()
        program = _Program(len(self._filter) // 8, self._filter)
        _must(prctl(_PR_SET_SECCOMP, _FILTER, ctypes.addressof(program)), "filter system calls")
        visible.known = visible.Visible(self._told["read"], self._told["write"])
        return scratch

    def _write(self, name: str, text: str) -> None:
        """Into a file of `/proc` as the zygote sees it."""
        descriptor = os.open(name, os.O_WRONLY, dir_fd=self._host_proc)
        os.write(descriptor, text.encode())
        os.close(descriptor)


def keep_house(worker: int, told: Any) -> None:
    """In the first process: waits for all that ends, says how the worker did, and ends with the last.
    Whoever ends this process ends all of them."""
    prctl(_PR_SET_DUMPABLE, 0)
    while True:
        try:
            pid, status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            os._exit(0)
        if pid == worker:
            with suppress(OSError):
                told(status, usage.ru_maxrss)


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    result = _libc.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode())
    _must(result, f"mount {target}")


def _mount_point(path: str, is_directory: bool) -> None:
    os.makedirs(path if is_directory else os.path.dirname(path), exist_ok=True)
    if not is_directory:
        open(path, "x").close()


def _drop_capabilities() -> None:
    for number in range(64):
        if prctl(_PR_CAPBSET_DROP, number) < 0:
            break
    prctl(_PR_CAP_AMBIENT, _CLEAR_ALL)
    head, none = struct.pack("<Ii", _CAPABILITIES_V3, 0), bytes(24)
    _must(_libc.capset(head, none), "drop its capabilities")


def _keep_to_own_sockets() -> None:
    """No abstract socket and no signal of others, where the kernel has that (Landlock since Linux 6.12)."""
    scoped = struct.pack("<QQQ", 0, 0, 3)
    rules = _libc.syscall(
        ctypes.c_long(_LANDLOCK_CREATE_RULESET), scoped, ctypes.c_size_t(len(scoped)), ctypes.c_uint(0)
    )
    if rules >= 0:
        _libc.syscall(ctypes.c_long(_LANDLOCK_RESTRICT_SELF), ctypes.c_int(rules), ctypes.c_uint(0))
        os.close(rules)


class Scratch:
    """All that a worker can write by itself: one file system, whose free inodes tell whether anything was
    left."""

    def __init__(self, bound: List[str]) -> None:
        self._bound = bound
        self._work = os.open(WORK, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._free = os.statvfs(self._work).f_ffree

    def tidy(self, statvfs: Any = os.statvfs, chdir: Any = os.chdir) -> None:
        """Between two calls: back to the working directory, and nothing left in it. Raises OSError if that
        fails."""
        chdir(self._work)
        if statvfs(self._work).f_ffree != self._free:
            for root in OWN:
                _empty(root, self._bound)


def _empty(directory: str, bound: List[str]) -> None:
    with suppress(OSError):
        os.chmod(directory, 0o700 if directory == WORK else 0o1777)
    with os.scandir(directory) as entries:
        found = list(entries)
    for entry in found:
        if entry.path in bound:
            continue
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.path)
        elif any(is_below(path, entry.path) for path in bound):
            _empty(entry.path, bound)
        else:
            _empty(entry.path, bound)
            os.rmdir(entry.path)
