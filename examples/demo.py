"""What `make demo` shows: service and endpoint, the tutorial, many calls, three examples, a clean stop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bursa

HERE = Path(__file__).resolve().parent
CALLS, INPUTS = 100_000, 1_000_000


def square(x: int) -> int:
    return x * x


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


@contextmanager
def service_and_endpoint(home: Path) -> Iterator[dict[str, str]]:
    """`bursa up` in a home of its own; stopped at the end."""
    command = [os.environ.get("BURSA_BIN", "bursa"), "up", "--tutorial", "--json", "--home", str(home)]
    command += ["--http", "127.0.0.1:0", "--zmq", "127.0.0.1:0", "--python", sys.executable]
    command += ["--read", str(HERE.parent)]  # metadata.py reads the files of the repository
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"bursa up ended with exit code {process.wait()}")
        ready = json.loads(line)
        print(f"ready after {time.perf_counter() - started:.2f} s at {ready['url']}")
        yield ready
    finally:
        say("stopping everything")
        started = time.perf_counter()
        process.terminate()
        code = process.wait(timeout=30)
        print(f"stopped after {time.perf_counter() - started:.2f} s, exit code {code}")


def many_calls(client: bursa.Client) -> None:
    started = time.perf_counter()
    futures = [client.run(square, x) for x in range(CALLS)]
    total = sum(future.result() for future in futures)
    took = time.perf_counter() - started
    assert total == sum(x * x for x in range(CALLS))
    print(
        f"{CALLS:,} calls in {took:.1f} s: {CALLS / took:,.0f} a second, each on disk before it was accepted"
    )


def many_inputs(client: bursa.Client) -> None:
    started = time.perf_counter()
    total = sum(client.map(square, range(INPUTS), progress=True))
    took = time.perf_counter() - started
    assert total == sum(x * x for x in range(INPUTS))
    print(f"{INPUTS:,} inputs of a map in {took:.1f} s: {INPUTS / took:,.0f} a second, many to a task")


def example(name: str) -> None:
    say(f"examples/{name}")
    subprocess.run([sys.executable, str(HERE / name)], check=True)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bursa-demo-") as directory:
        say("bursa up --tutorial")
        with service_and_endpoint(Path(directory) / "home") as ready:
            os.environ.update(BURSA_HOME=ready["home"], BURSA_URL=ready["url"], BURSA_TOKEN=ready["token"])
            example("tutorial.py")
            say(f"{CALLS:,} calls, and {INPUTS:,} inputs")
            with bursa.Client() as client:
                many_calls(client)
                many_inputs(client)
            for name in ["metadata.py", "digits.py", "image_quality.py", "percolation.py"]:
                example(name)


if __name__ == "__main__":
    main()
