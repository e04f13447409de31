"""Everything that Globus Compute's `Client` does, as its users write it."""

import json
import sys
import time

from globus_compute_sdk import Client
from globus_compute_sdk.errors import TaskPending

endpoint = sys.argv[1]
client = Client()


def add(a, b=1):
    return a + b


def bad(x):
    raise ValueError(f"no {x}")


def result(task):
    while True:
        try:
            return client.get_result(task)
        except TaskPending:
            time.sleep(0.02)
        except Exception as error:
            return [type(error).__name__, str(error)]


def say(**what):
    print(json.dumps(what))


function, failing = client.register_function(add), client.register_function(bad)
say(result=result(client.run(2, b=40, endpoint_id=endpoint, function_id=function)))
say(failed=result(client.run(7, endpoint_id=endpoint, function_id=failing)))
batch = client.create_batch()
for n in range(5):
    batch.add(function, args=(n,), kwargs={"b": 10})
tasks = client.batch_run(endpoint, batch)["tasks"][function]
values = [result(task) for task in tasks]
again = client.get_batch_result(tasks)
say(batch=values, again=[again[task]["result"] for task in tasks])
say(status=client.get_endpoint_status(endpoint)["status"])
say(endpoints=[each["uuid"] for each in client.get_endpoints()])
say(name=client.get_endpoint_metadata(endpoint)["name"])
try:
    client.get_task("00000000-0000-0000-0000-000000000000")
except Exception as error:
    say(unknown=[type(error).__name__, getattr(error, "http_status", 0), str(getattr(error, "code", ""))])
