"""`FuncXClient` of all ages, its major version as argument: told the address, its tokens in a store."""

import json
import os
import sys
import time

from funcx import FuncXClient

endpoint, age = sys.argv[1:]
client = FuncXClient(funcx_service_address=f"{os.environ['BURSA_URL']}/v2")


def add(a, b=1):
    return a + b


def bad(x):
    raise ValueError(f"no {x}")


def result(task):
    while True:
        try:
            return client.get_result(task)
        except Exception as error:
            if type(error).__name__ != "TaskPending":
                return [type(error).__name__, str(error)]
            time.sleep(0.02)


def say(**what):
    print(json.dumps(what))


function, failing = client.register_function(add), client.register_function(bad)
say(result=result(client.run(2, b=40, endpoint_id=endpoint, function_id=function)))
say(failed=result(client.run(7, endpoint_id=endpoint, function_id=failing)))
batch = client.create_batch()
for n in range(3):
    if age == "0":
        batch.add(n, b=10, endpoint_id=endpoint, function_id=function)
    elif age == "1":
        batch.add(function, endpoint, args=(n,), kwargs={"b": 10})
    else:
        batch.add(function, args=(n,), kwargs={"b": 10})
tasks = client.batch_run(endpoint, batch)["tasks"][function] if age == "2" else client.batch_run(batch)
say(batch=[result(task) for task in tasks])
say(status=client.get_endpoint_status(endpoint)["status"])
if age != "2":
    container = client.register_container("docker.io/none:1", "docker", name="n", description="d")
    say(container=client.get_container(container, "docker")["location"])
public = client.register_function(add, public=True)
client.add_to_whitelist(endpoint, [function, public])
say(listed=sorted(client.get_whitelist(endpoint)["result"]) == sorted([function, public]))
try:
    say(kept_out=client.run(7, endpoint_id=endpoint, function_id=failing))
except Exception as error:
    say(kept_out=str(error))
client.delete_from_whitelist(endpoint, [function, public])
say(lifted=client.get_whitelist(endpoint)["result"])
