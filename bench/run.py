"""Speed of the whole product on one machine: real binary, durability FULL, encryption and tokens on.

    make bench          # prints a table and writes bench/results/latest.json

Machines are shared and noisy: read ratios within one run, medians, and CPU per task.
`docs/performance.md` keeps the record.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import bursa

ROOT = Path(__file__).resolve().parents[1]
BINARY = os.environ.get("BURSA_BIN", str(ROOT / "target/release/bursa"))
RESULTS = ROOT / "bench/results/latest.json"
WORKERS = 2
PASSES = 5
ONE_AT_A_TIME = 300
TICK = os.sysconf("SC_CLK_TCK")
PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


def noop(x: object) -> None:
    return None


@dataclass
class Stack:
    """A running `bursa up` and where its processes are."""

    process: subprocess.Popen[str]
    url: str
    token: str
    started: float

    def processes(self) -> dict[int, str]:
        """Pid -> role of every process below and including the watchdog."""
        roles = ["service", "manager", "executor", "watchdog"]
        found = {}
        for pid in [self.process.pid, *below(self.process.pid)]:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            role = "worker" if "bursa.worker" in words else next((r for r in roles if r in words), "?")
            found[pid] = role
        return found

    def cpu_s(self) -> dict[str, float]:
        """Role -> CPU seconds used so far."""
        used: dict[str, float] = {}
        for pid, role in self.processes().items():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            used[role] = used.get(role, 0.0) + (int(fields[11]) + int(fields[12])) / TICK
        return used

    def rss_mb(self) -> dict[str, float]:
        """Role -> resident memory in MB."""
        used: dict[str, float] = {}
        for pid, role in self.processes().items():
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            used[role] = used.get(role, 0.0) + pages * PAGE_KB / 1024
        return used


def below(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield int(child)
            yield from below(int(child))


@contextmanager
def running(home: Path) -> Iterator[Stack]:
    started = time.perf_counter()
    command = [BINARY, "up", "--json", "--home", str(home), "--http", "127.0.0.1:0", "--zmq", "127.0.0.1:0"]
    command += ["--workers", str(WORKERS), "--python", sys.executable]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"bursa up ended with exit code {process.wait()}")
        ready = json.loads(line)
        yield Stack(process, ready["url"], ready["token"], started)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def disk_commit_ms(directory: Path) -> float:
    """Median of a 4 KiB append and fdatasync: what the disk itself takes for one commit."""
    path = directory / "commit-probe"
    with path.open("wb", buffering=0) as file:
        times = []
        for _ in range(200):
            started = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - started)
    path.unlink()
    return 1000 * statistics.median(times)


def one_at_a_time(client: bursa.Client) -> list[float]:
    """Milliseconds of each of a row of calls, each waited for."""
    times = []
    for _ in range(ONE_AT_A_TIME):
        started = time.perf_counter()
        client.run(noop, 1).result()
        times.append(1000 * (time.perf_counter() - started))
    return sorted(times)


def burst(submit: Callable[[Callable, int], object], count: int) -> float:
    """Seconds for `count` no-ops, submitted one by one and all waited for."""
    started = time.perf_counter()
    futures = [submit(noop, number) for number in range(count)]
    for future in futures:
        future.result()
    return time.perf_counter() - started


def bursts(stack: Stack, client: bursa.Client, count: int) -> dict[str, object]:
    """Rate and CPU of bursts, interleaved with a local process pool doing the same."""
    ours, pools, cpu = [], [], []
    with ProcessPoolExecutor(WORKERS) as pool:
        burst(pool.submit, 100)
        for _ in range(PASSES):
            before, own = stack.cpu_s(), time.process_time()
            ours.append(burst(client.run, count))
            after = stack.cpu_s()
            spent = {role: after[role] - before.get(role, 0.0) for role in after}
            spent["client"] = time.process_time() - own
            cpu.append({role: 1e6 * seconds / count for role, seconds in spent.items()})
            pools.append(burst(pool.submit, count))
    roles = sorted({role for run in cpu for role in run})
    by_role = {role: round(statistics.median(run.get(role, 0.0) for run in cpu), 1) for role in roles}
    return {
        "tasks": count,
        "tasks_per_s": round(count / statistics.median(ours)),
        "process_pool_tasks_per_s": round(count / statistics.median(pools)),
        "times_process_pool": round(statistics.median(p / o for p, o in zip(pools, ours)), 2),
        "cpu_us_per_task": round(sum(by_role.values()), 1),
        "cpu_us_per_task_by_role": by_role,
    }


def measure() -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="bursa-bench-", dir=ROOT / "target") as directory:
        root = Path(directory)
        with running(root / "home") as stack:
            idle = stack.rss_mb()
            with bursa.Client(stack.url, stack.token) as client:
                client.run(noop, 1).result()
                cold_s = time.perf_counter() - stack.started
                one_at_a_time(client)
                commit_ms = disk_commit_ms(root)
                times = one_at_a_time(client)
                small = bursts(stack, client, 10_000)
                large = bursts(stack, client, 100_000)
        without_workers = sum(mb for role, mb in idle.items() if role != "worker")
        return {
            "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "machine": {
                "cores": os.cpu_count(),
                "kernel": platform.release(),
                "python": platform.python_version(),
            },
            "up_to_first_result_s": round(cold_s, 2),
            "idle_rss_mb": {role: round(mb, 1) for role, mb in idle.items()},
            "idle_rss_mb_without_workers": round(without_workers, 1),
            "disk_commit_p50_ms": round(commit_ms, 3),
            "one_at_a_time_p50_ms": round(statistics.median(times), 3),
            "one_at_a_time_p99_ms": round(times[int(len(times) * 0.99)], 3),
            "bursts": [small, large],
        }


def rows(found: dict) -> Iterator[tuple[str, str, str]]:
    bound = 2 * found["disk_commit_p50_ms"] + 2
    yield "up to first result", f"{found['up_to_first_result_s']} s", "<= 2 s"
    yield "idle RSS without workers", f"{found['idle_rss_mb_without_workers']} MB", "<= 70 MB"
    yield "disk's own commit, p50", f"{found['disk_commit_p50_ms']} ms", ""
    yield "one call at a time, p50", f"{found['one_at_a_time_p50_ms']} ms", f"<= {bound:.2f} ms"
    yield "one call at a time, p99", f"{found['one_at_a_time_p99_ms']} ms", ""
    for run in found["bursts"]:
        name = f"{run['tasks']:,} no-ops"
        yield name, f"{run['tasks_per_s']:,} tasks/s", ">= 15,000 tasks/s"
        yield "  local process pool, same run", f"{run['process_pool_tasks_per_s']:,} tasks/s", ""
        yield "  times the process pool", f"{run['times_process_pool']}", ""
        yield "  CPU over all processes", f"{run['cpu_us_per_task']} us/task", ""
        for role, used in run["cpu_us_per_task_by_role"].items():
            yield f"    {role}", f"{used} us/task", ""


def main() -> None:
    (ROOT / "target").mkdir(exist_ok=True)
    found = measure()
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    for name, value, target in rows(found):
        print(f"{name:32} {value:>18}   {target}")
    print(f"\nwritten to {RESULTS.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
