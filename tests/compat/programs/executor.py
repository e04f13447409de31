"""Everything that Globus Compute's `Executor` does."""

import json
import sys

from globus_compute_sdk import Executor

endpoint = sys.argv[1]


def double(x):
    return x * 2


def bad(x):
    raise ValueError(x)


def say(**what):
    print(json.dumps(what))


with Executor(endpoint_id=endpoint) as executor:
    say(one=executor.submit(double, 21).result(timeout=60))
    futures = [executor.submit(double, n) for n in range(200)]
    say(many=[future.result(timeout=60) for future in futures])
    error = executor.submit(bad, 3).exception(timeout=60)
    say(failed=[type(error).__name__, str(error)])
    large = "x" * 4_500_000
    say(large=len(executor.submit(double, large).result(timeout=60)))
    say(text=executor.submit(double, "é漢").result(timeout=60))
    group = executor.task_group_id
with Executor(endpoint_id=endpoint, task_group_id=group) as executor:
    futures = list(executor.reload_tasks())
    say(reloaded=len(futures), failed=sum(future.exception(timeout=60) is not None for future in futures))
