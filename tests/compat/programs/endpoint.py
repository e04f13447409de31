"""Calls of an official endpoint, as its users write them: `endpoint.py ENDPOINT WHAT [FILE]`."""

import json
import sys
import time
from pathlib import Path

from globus_compute_sdk import Client, Executor, MPIFunction, ShellFunction

endpoint, what, *arguments = sys.argv[1:]
LONG = 300
"""Seconds for one result: the first waits for its user endpoint's start."""


def double(x):
    return x * 2


def bad(x):
    raise ValueError(f"no {x}")


def slow(n, seconds):
    import time

    time.sleep(seconds)
    return n


def endless():
    import time

    while True:
        time.sleep(0.05)


def bulk(size):
    return bytes(size)


def say(**said):
    print(json.dumps(said), flush=True)


def wait(executor, file):
    """Some calls run and some wait when the file appears: then something is done to the endpoint."""
    futures = [executor.submit(slow, n, 3) for n in range(8)]
    futures[0].result(timeout=LONG)
    Path(file).touch()
    return [future.result(timeout=LONG) for future in futures]


with Executor(endpoint_id=endpoint) as executor:
    if what == "all":
        say(one=executor.submit(double, 21).result(timeout=LONG))
        say(many=[future.result(timeout=LONG) for future in [executor.submit(double, n) for n in range(60)]])
        error = executor.submit(bad, 7).exception(timeout=LONG)
        say(failed=[type(error).__name__, str(error)])
        say(bulk=len(executor.submit(bulk, 7_000_000).result(timeout=LONG)))
        say(refused=str(executor.submit(bulk, 9_000_000).exception(timeout=LONG)))
        say(shell=executor.submit(ShellFunction("echo {what}"), what="heard").result(timeout=LONG).stdout)
        ended = executor.submit(ShellFunction("sleep 60", walltime=0.5)).result(timeout=LONG)
        say(walltime=[ended.returncode, ended.exception_name])
        say(hardware=executor.get_worker_hardware_details())
        say(status=Client().get_endpoint_status(endpoint)["status"])
        say(group=str(executor.task_group_id))
    elif what == "reload":
        executor.task_group_id = arguments[0]
        futures = list(executor.reload_tasks())
        say(count=len(futures), failed=sum(future.exception(timeout=LONG) is not None for future in futures))
    elif what == "config":
        executor.user_endpoint_config = {"workers": int(arguments[0])}
        started = time.monotonic()
        futures = [executor.submit(slow, n, 1) for n in range(4)]
        say(got=[future.result(timeout=LONG) for future in futures], took=time.monotonic() - started)
    elif what == "mpi":
        executor.resource_specification = {"num_nodes": 2, "ranks_per_node": 2}
        say(mpi=executor.submit(MPIFunction("hello")).result(timeout=LONG).stdout)
    elif what == "endless":
        say(error=str(executor.submit(endless).exception(timeout=LONG)))
    elif what == "one":
        error = (future := executor.submit(double, 4)).exception(timeout=LONG)
        say(error=str(error)) if error else say(one=future.result())
    else:
        say(got=wait(executor, arguments[0]))
