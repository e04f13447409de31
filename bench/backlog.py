"""1,000,000 tasks queued by one client for an endpoint that is away: the memory of service and client.

    make backlog        # prints a table; BURSA_BENCH_TASKS for another number

The endpoint is registered and never started, so every task waits at the service. Then the service is killed
and started again, to see what its recovery takes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import bursa

from bench.stack import BINARY, ROOT

TASKS = int(os.environ.get("BURSA_BENCH_TASKS", "1000000"))
TARGET_MB = 600


def start(home: Path) -> tuple[subprocess.Popen[str], dict[str, str]]:
    command = [
        BINARY,
        "serve",
        "--json",
        "--home",
        str(home),
        "--http",
        "127.0.0.1:0",
        "--zmq",
        "127.0.0.1:0",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"bursa serve ended with exit code {process.wait()}")
    return process, json.loads(line)


def memory_mb(pid: int | str) -> tuple[float, float]:
    """Resident memory now, and the most there was."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return tuple(int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))


def new_endpoint(home: Path) -> str:
    command = [BINARY, "endpoint", "new", "away", "--json", "--home", str(home)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)[
        "endpoint_id"
    ]


def main() -> None:
    (ROOT / "target").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bursa-queue-", dir=ROOT / "target") as directory:
        home = Path(directory) / "home"
        process, _ = start(home)
        try:
            endpoint = new_endpoint(home)
            idle, _ = memory_mb(process.pid)
            with bursa.Client(home=home) as client:
                began = time.perf_counter()
                futures = [client.run(abs, -number, endpoint_id=endpoint) for number in range(TASKS)]
                called_s = time.perf_counter() - began
                client.wait_accepted(futures[-1:])
                accepted_s = time.perf_counter() - began
                queued = client.endpoint_status(endpoint)["queued"]
                service, most = memory_mb(process.pid)
                own, _ = memory_mb("self")
            assert queued == TASKS, f"{queued} of {TASKS} are queued"
            process.send_signal(signal.SIGKILL)
            process.wait()
            began = time.perf_counter()
            process, _ = start(home)
            restart_s = time.perf_counter() - began
            again, again_most = memory_mb(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)
    print(f"{TASKS:,} tasks of one client, queued for an endpoint that is away; at most {TARGET_MB} MB")
    print(f"  submit() returned for all after {called_s:9.1f} s")
    print(f"  all accepted after              {accepted_s:9.1f} s")
    print(f"  service, resident               {service:9.0f} MB (most {most:.0f}, idle {idle:.0f})")
    print(f"  client, resident                {own:9.0f} MB")
    print(f"  killed, started again in        {restart_s:9.1f} s")
    print(f"  service then, resident          {again:9.0f} MB (most {again_most:.0f})")
    raise SystemExit(most > TARGET_MB or again_most > TARGET_MB)


if __name__ == "__main__":
    main()
