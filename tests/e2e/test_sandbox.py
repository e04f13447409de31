"""Functions that try to get out of their sandbox: refused, and the endpoint works afterwards."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bursa
import pytest
from conftest import BINARY, Stack, descendants, environment, run_cli, running, with_role

MISSING = shutil.which("bwrap") is None
if MISSING and os.environ.get("CI") == "true":
    raise RuntimeError("bubblewrap is missing: .ci/run installs it")
pytestmark = pytest.mark.skipif(MISSING, reason="bubblewrap (bwrap) is not installed")

PIDS, SCRATCH_MB, MEMORY_MB = 64, 32, 256
LIMITS = {
    "BURSA_SANDBOX_RUNTIME": "bwrap",
    "BURSA_SANDBOX_PIDS": str(PIDS),
    "BURSA_SANDBOX_SCRATCH_MB": str(SCRATCH_MB),
    "BURSA_SANDBOX_MEMORY_MB": str(MEMORY_MB),
}


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An endpoint that grants a directory beside its home and nothing else."""
    base = tmp_path_factory.mktemp("closed")
    (base / "deep").mkdir()
    with running(base / "deep" / "home", "--workers", "1", **LIMITS) as stack:
        yield stack


@pytest.fixture
def run(closed: Stack) -> Iterator[Callable[..., Any]]:
    """Runs a function there; afterwards the endpoint, with the same manager and executor, runs another."""
    kept = {role: with_role(closed.pid, role) for role in ("manager", "executor")}
    with bursa.Client(closed.url, closed.token) as client:
        yield lambda function, *args: client.run(function, *args).result(60)
        assert client.run(abs, -1).result(60) == 1
    assert {role: with_role(closed.pid, role) for role in kept} == kept


def error_of(function: Callable[..., Any], *args: Any) -> str:
    """The name of what `function` raises; for use inside."""
    try:
        return f"no error but {function(*args)!r}"
    except OSError as error:
        return type(error).__name__


def reader(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def writer(path: str) -> None:
    with open(path, "w") as file:
        file.write("was here")


def test_tokens_keys_and_homes_are_not_there(run: Any, closed: Stack) -> None:
    home = Path.home()
    secrets = [
        closed.home / "client.toml",
        *(closed.home / "endpoints/local").rglob("*"),
        home / ".ssh",
        home / ".bashrc",
    ]
    secrets += [Path("/etc/shadow"), Path("/var"), Path(__file__).parents[2] / "Makefile"]
    found = run(
        lambda paths: [path for path in paths if os.path.exists(path)], [str(path) for path in secrets]
    )
    assert found == []
    # What was granted holds the home: of what is in it there is the worker's own package.
    assert run(os.listdir, str(closed.home)) == ["lib"]


def test_writes_outside_are_refused_and_the_failure_names_the_key(run: Any, closed: Stack) -> None:
    for path in (
        "/new",
        "/usr/new",
        "/etc/passwd",
        "/home/new",
        "/dev/new",
        "/run/new",
        "/proc/sys/kernel/hostname",
    ):
        assert run(error_of, writer, path) in ("OSError", "PermissionError", "FileNotFoundError"), path
    assert run(error_of, writer, str(closed.home / "new")) == "OSError"
    assert not (closed.home / "new").exists()
    with bursa.Client(closed.url, closed.token) as client:
        future = client.run(reader, "/data/experiment")
        with pytest.raises(FileNotFoundError):
            future.result(60)
        failure = client.task(future.task_id)["failure"]
        assert "/data/experiment is outside this endpoint's sandbox" in failure["message"]
        assert "sandbox.read" in failure["message"]


def test_what_is_granted_is_there(run: Any, closed: Stack) -> None:
    path = closed.home.parents[1] / "result"
    run(writer, str(path))
    assert path.read_text() == "was here"


def test_other_processes_are_not_there(run: Any, closed: Stack) -> None:
    def look() -> Any:
        seen = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
        return os.getpid(), os.getppid(), seen

    assert run(look) == (2, 1, [1, 2])

    def kill_all(pids: list[int]) -> list[str]:
        names = []
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
                names.append(f"{pid} was there")
            except OSError as error:
                names.append(type(error).__name__)
        return names

    outside = [closed.pid, *with_role(closed.pid, "manager"), *with_role(closed.pid, "executor"), os.getpid()]
    outside = [pid for pid in outside if pid > 2]
    assert set(run(kill_all, outside)) == {"ProcessLookupError"}
    # The first process of its own namespace cannot be ended from within either.
    assert set(run(kill_all, [1])) <= {"PermissionError", "1 was there"}
    assert run(os.getppid) == 1


def test_it_cannot_trace_mount_or_make_namespaces(run: Any) -> None:
    def calls() -> dict[str, int]:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mount.argtypes = [ctypes.c_char_p] * 3 + [ctypes.c_ulong, ctypes.c_char_p]

        def number(result: int) -> int:
            return 0 if result >= 0 else ctypes.get_errno()

        return {
            "ptrace": number(libc.ptrace(16, 1, None, None)),
            "mount": number(libc.mount(b"t", b"/tmp", b"tmpfs", 0, None)),
            "umount": number(libc.umount2(b"/tmp", 2)),
            "unshare": number(libc.unshare(0x10000000)),
            "setns": number(libc.setns(0, 0)),
            "chroot": number(libc.chroot(b"/tmp")),
            "bpf": number(libc.syscall(321, 0, 0, 0)),
            "keyctl": number(libc.syscall(250, 0, 0)),
            "userfaultfd": number(libc.syscall(323, 0)),
            "memory of the first process": number(libc.open(b"/proc/1/mem", 0)),
        }

    answers = run(calls)
    assert {name for name, code in answers.items() if code not in (1, 13)} == set(), answers

    def status() -> dict[str, str]:
        with open("/proc/self/status") as file:
            return dict(line.rstrip("\n").partition(":\t")[::2] for line in file)

    seen = run(status)
    assert {seen[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (seen["NoNewPrivs"], seen["Seccomp"]) == ("1", "2")
    assert seen["Uid"].split()[0] == ("65534" if os.getuid() == 0 else str(os.getuid()))


def test_no_descriptor_leads_out(run: Any, closed: Stack) -> None:
    def links() -> list[str]:
        found = []
        for name in os.listdir("/proc/self/fd"):
            try:
                found.append(os.readlink(f"/proc/self/fd/{name}"))
            except OSError:  # the one that was listing
                continue
        return found

    kinds = sorted(link.partition(":")[0].partition(" ")[0] for link in run(links))
    # Its own working directory is tidied by descriptor.
    assert kinds == ["/dev/null", "/memfd", "/run/task", "pipe", "pipe", "socket"], kinds

    def forge(number: int) -> list[str]:
        answers = []
        for descriptor in range(3, 64):
            try:
                kind = socket.socket(fileno=os.dup(descriptor)).type
                answers.append(kind.name)
            except OSError:
                continue
        return answers

    assert run(forge, 1) == ["SOCK_STREAM"], "no control socket of the zygote"


def test_the_managers_socket_takes_nobody_without_a_key(run: Any, closed: Stack) -> None:
    """Its address can be reached, as all of the host's network; its keys cannot."""
    address = json.loads((closed.home / "endpoints/local/manager.json").read_text())["address"]

    def connect(address: str) -> bytes:
        host, _, port = address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as link:
            null = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
            link.sendall(null + b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\6DEALER")
            link.settimeout(10)
            data = b""
            try:
                while len(data) < 4096:
                    more = link.recv(4096)
                    if not more:
                        break
                    data += more
            except ConnectionResetError:
                pass
            return data

    assert b"READY" not in run(connect, address)
    keys = [str(path) for path in (closed.home / "endpoints/local").rglob("*") if path.is_file()]
    assert run(lambda paths: [path for path in paths if os.path.exists(path)], keys) == []


def test_a_task_finds_nothing_of_the_one_before(run: Any) -> None:
    def leave() -> None:
        os.makedirs("deep/er")
        for path in ("here", "deep/er/file", "/tmp/there", "/dev/shm/shared"):
            writer(path)
        os.mkdir("/tmp/closed")
        os.chmod("/tmp/closed", 0)
        os.chdir("/usr")

    def look() -> Any:
        return (
            os.getcwd(),
            os.listdir("."),
            os.listdir("/dev/shm"),
            [n for n in os.listdir("/tmp") if "pytest" not in n],
        )

    cwd, *before = run(look)
    run(leave)
    assert run(look) == (cwd, *before)
    assert before[:2] == [[], []]


def test_the_scratch_has_its_size(run: Any) -> None:
    def fill(path: str) -> tuple[str, int]:
        written = 0
        try:
            with open(path, "wb", 0) as file:
                while True:
                    written += file.write(bytes(1 << 20))
        except OSError as error:
            return error.strerror, written >> 20

    for path in ("file", "/tmp/file", "/dev/shm/file"):
        why, written = run(fill, path)
        assert why == "No space left on device" and SCRATCH_MB - 2 <= written <= SCRATCH_MB


def kernel() -> tuple[int, ...]:
    return tuple(int(number) for number in os.uname().release.split("-")[0].split(".")[:2])


def may_limit(controller: str) -> bool:
    return os.access(f"/sys/fs/cgroup/{controller}", os.W_OK)


def bomb() -> int:
    """Processes that one call can start."""
    started = []
    try:
        while len(started) < 10_000:
            started.append(os.fork())
            if started[-1] == 0:
                signal.pause()
    except BlockingIOError:
        pass
    for pid in started:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return len(started)


@pytest.mark.skipif(not may_limit("pids"), reason="no control group can be made here")
def test_a_fork_bomb_ends_at_the_limit(run: Any) -> None:
    assert 0 < run(bomb) <= PIDS


@pytest.mark.skipif(kernel() < (6, 14), reason="numbers of processes are those of the host here")
def test_a_fork_bomb_ends_with_the_numbers_of_its_namespace(tmp_path: Path) -> None:
    numbers = Path("/proc/sys/kernel/pid_max")
    before, groups = numbers.read_text(), Path("/sys/fs/cgroup/pids")
    with running(tmp_path / "home", BURSA_SANDBOX_PIDS="1024") as stack:
        client = stack.client()
        (executor,) = with_role(stack.pid, "executor")
        # The first number is its namespace's first process, the second its own.
        assert client.run(bomb).result(60) == 1024 - 2
        assert 0 < client.run(bomb).result(60) < 1024
        assert client.run(error_of, writer, str(numbers)).result(60) in ("OSError", "PermissionError")
        assert not list(groups.glob(f"bursa-{executor}-*")), "no control group is needed for it"
    assert numbers.read_text() == before


@pytest.mark.skipif(not may_limit("memory"), reason="no control group can be made here")
def test_a_call_that_takes_all_memory_is_an_oom(run: Any, closed: Stack) -> None:
    with bursa.Client(closed.url, closed.token) as client:
        future = client.submit(lambda: len(b"x" * (2 * MEMORY_MB << 20)), retries=0)
        with pytest.raises(bursa.TaskFailed) as failed:
            future.result(60)
    assert failed.value.code == "worker-died"
    assert "memory" in str(failed.value)


def test_what_workers_import_was_compiled_outside(run: Any, closed: Stack) -> None:
    def look() -> list[Any]:
        return [sys.modules[name].__cached__ for name in ("bursa.worker.zygote", "bursa.serialize")]

    lib = closed.home / "lib"
    assert all(Path(path).is_relative_to(lib) and Path(path).is_file() for path in run(look))


def test_what_programs_need_is_there(run: Any) -> None:
    def use() -> Any:
        import multiprocessing
        import tempfile

        with multiprocessing.get_context("fork").Pool(2) as pool:
            squares = pool.map(abs, [-1, -2])
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            squares += pool.map(abs, [-3])
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"x")
        said = subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, text=True).stdout
        with open("/proc/cpuinfo") as info:
            return squares, said, "processor" in info.read(), os.cpu_count() == len(os.sched_getaffinity(0))

    assert run(use) == ([1, 2, 3], "1\n", True, True)


def test_without_network_there_is_none(tmp_path: Path) -> None:
    with running(tmp_path / "home", BURSA_SANDBOX_NETWORK="none") as stack:
        port = int(stack.url.rpartition(":")[2])
        refused = stack.client().run(error_of, socket.create_connection, ("127.0.0.1", port)).result(60)
        assert refused in ("ConnectionRefusedError", "OSError")


def test_none_is_explicit_and_bwrap_is_not_replaced(tmp_path: Path) -> None:
    with running(tmp_path / "home", "--sandbox", "none") as stack:
        assert stack.client().run(os.getpid).result(60) in descendants(stack.pid)
    empty = tmp_path / "empty"
    empty.mkdir()
    check = run_cli(
        tmp_path / "home", "endpoint", "check", "--json", PATH=str(empty), BURSA_SANDBOX_RUNTIME="auto"
    )
    sandbox = json.loads(check.stdout)["checks"][0]
    assert sandbox["ok"] is False and "bwrap" in sandbox["found"]


def test_check_says_what_this_host_gives(tmp_path: Path) -> None:
    check = json.loads(run_cli(tmp_path / "home", "endpoint", "check", "--json").stdout)
    found = {item["what"]: item for item in check["checks"]}
    for what in ("sandbox", "user", "processes", "files", "privileges", "system calls"):
        assert found[what]["ok"], found[what]
    lines = run_cli(tmp_path / "home", "endpoint", "check").stdout.splitlines()
    assert len(lines) == len(found)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_somebody_who_is_not_root_has_the_same() -> None:
    with tempfile.TemporaryDirectory(prefix="bursa-") as base:
        os.chmod(base, 0o755)
        home, program = Path(base) / "u" / "home", Path(base) / "bursa"
        home.parent.mkdir()
        shutil.copy(BINARY, program)
        os.chown(home.parent, 12345, 12345)
        command = [
            "setpriv",
            "--reuid",
            "12345",
            "--regid",
            "12345",
            "--clear-groups",
            str(program),
            "up",
            "--json",
        ]
        command += ["--home", str(home), "--http", "127.0.0.1:0", "--python", "/usr/bin/python3"]
        settings = environment(home, **LIMITS, HOME=str(home.parent))
        process = subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, text=True, cwd="/")
        try:
            ready = json.loads(process.stdout.readline())
            stack = Stack(process, ready["url"], ready["token"], ready["endpoint_id"], home)
            with bursa.Client(stack.url, stack.token) as client:
                look = client.run(
                    lambda path: (os.getuid(), os.getpid(), os.path.exists(path)), str(home / "client.toml")
                )
                assert look.result(60) == (12345, 2, False)
                assert client.run(error_of, writer, "/new").result(60) == "OSError"
                assert client.run(writer, "new").result(60) is None
        finally:
            process.terminate()
            process.wait(30)
