"""What travels by the name of its class: programs as functions, and the report of a worker's hardware."""

import json
import sys

from globus_compute_sdk import Client, Executor, MPIFunction, ShellFunction

endpoint = sys.argv[1]


def said(future):
    error = future.exception(timeout=300)
    return str(error) if error else [(result := future.result()).returncode, result.stdout, result.stderr]


with Executor(endpoint_id=endpoint) as executor:
    print(json.dumps({"shell": said(executor.submit(ShellFunction("echo {what}"), what="heard"))}))
    late = executor.submit(ShellFunction("echo begun; sleep 60", walltime=0.5))
    print(json.dumps({"walltime": said(late)}))
    executor.resource_specification = {"num_nodes": 1, "ranks_per_node": 2}
    print(json.dumps({"mpi": said(executor.submit(MPIFunction("hello")))}))
    executor.resource_specification = None
    try:
        report = executor.get_worker_hardware_details()
    except Exception as error:
        report = str(error)
    print(json.dumps({"hardware": report}))
    print(json.dumps({"task": bool(Client().get_worker_hardware_details(endpoint))}))
