"""What prefetching is worth over a slow link: tasks per second by `endpoint.prefetch`, delay and length.

python -m bench.prefetch        # on a quiet machine

Every byte between service and endpoint takes the delay longer, each way (the relay of `tests/chaos`).
"""

from __future__ import annotations

import socket
import sys
import time

import bursa

from bench.stack import ROOT, WORKERS, running, scratch

sys.path.insert(0, str(ROOT / "tests/chaos"))
from proxy import Proxies

DELAYS = [0.005, 0.02]
PREFETCH = [0, 1, 8, 32, 128, 512]
LENGTHS = {0.0: 4_000, 0.001: 1_000, 0.01: 200, 0.1: 20}
"""Seconds of a task -> how many."""


def nap(seconds: float) -> float:
    import time

    if seconds:
        time.sleep(seconds)
    return seconds


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def rates(prefetch: int, delay: float, proxies: Proxies) -> dict[float, float]:
    """Tasks per second by their length."""
    near, far = free_ports(2)
    link = proxies.link("service", near, far)
    more = {"BURSA_PUBLIC_ZMQ": f"127.0.0.1:{near}", "BURSA_BULK": "0"}
    more["BURSA_ENDPOINT_PREFETCH"] = str(prefetch)
    found = {}
    with (
        scratch() as directory,
        running(directory / "home", "--zmq", f"127.0.0.1:{far}", **more) as stack,
        bursa.Client(stack.url, stack.token) as client,
    ):
        link.delay(delay)
        for seconds, count in LENGTHS.items():
            client.run(nap, seconds).result()
            began = time.perf_counter()
            if sum(future.result() for future in [client.run(nap, seconds) for _ in range(count)]) < 0:
                raise SystemExit("a nap of less than nothing")
            found[seconds] = count / (time.perf_counter() - began)
    link.refuse()
    return found


def main() -> None:
    proxies = Proxies()
    print(f"{WORKERS} workers; tasks per second, and of what the workers could do")
    for delay in DELAYS:
        for prefetch in PREFETCH:
            cells = []
            for seconds, rate in rates(prefetch, delay, proxies).items():
                share = f" ({rate * seconds / WORKERS:.0%})" if seconds else ""
                cells.append(f"{1000 * seconds:g} ms: {rate:,.0f}/s{share}")
            print(f"delay {1000 * delay:g} ms, prefetch {prefetch}: " + ", ".join(cells), flush=True)


if __name__ == "__main__":
    main()
