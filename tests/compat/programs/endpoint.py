"""Calls of an official endpoint, as its users write them: `endpoint.py ENDPOINT WHAT [FILE]`."""

import json
import sys
import time
from pathlib import Path

from globus_compute_sdk import Client, Executor, ShellFunction

endpoint, what, *arguments = sys.argv[1:]


def double(x):
    return x * 2


def bad(x):
    raise ValueError(f"no {x}")


def slow(n, seconds):
    import time

    time.sleep(seconds)
    return n


def bulk(size):
    return bytes(size)


def say(**said):
    print(json.dumps(said), flush=True)


def wait(executor, file):
    """Some calls run and some wait when the file appears: then something is done to the endpoint."""
    futures = [executor.submit(slow, n, 3) for n in range(8)]
    futures[0].result(timeout=120)
    Path(file).touch()
    return [future.result(timeout=240) for future in futures]


with Executor(endpoint_id=endpoint) as executor:
    if what == "all":
        say(one=executor.submit(double, 21).result(timeout=120))
        say(many=[future.result(timeout=120) for future in [executor.submit(double, n) for n in range(60)]])
        error = executor.submit(bad, 7).exception(timeout=120)
        say(failed=[type(error).__name__, str(error)])
        say(bulk=len(executor.submit(bulk, 7_000_000).result(timeout=120)))
        say(refused=str(executor.submit(bulk, 9_000_000).exception(timeout=120)))
        say(shell=executor.submit(ShellFunction("echo {what}"), what="heard").result(timeout=120).stdout)
        say(status=Client().get_endpoint_status(endpoint)["status"])
        say(group=str(executor.task_group_id))
    elif what == "reload":
        executor.task_group_id = arguments[0]
        futures = list(executor.reload_tasks())
        say(count=len(futures), failed=sum(future.exception(timeout=120) is not None for future in futures))
    elif what == "config":
        executor.user_endpoint_config = {"workers": int(arguments[0])}
        started = time.monotonic()
        futures = [executor.submit(slow, n, 1) for n in range(4)]
        say(got=[future.result(timeout=120) for future in futures], took=time.monotonic() - started)
    elif what == "one":
        error = (future := executor.submit(double, 4)).exception(timeout=240)
        say(error=str(error)) if error else say(one=future.result())
    else:
        say(got=wait(executor, arguments[0]))
