"""A `ShellFunction`: it travels by the name of its class."""

import json
import sys

from globus_compute_sdk import Executor, ShellFunction

with Executor(endpoint_id=sys.argv[1]) as executor:
    future = executor.submit(ShellFunction("echo {what}"), what="heard")
    error = future.exception(timeout=120)
    print(json.dumps(str(error) if error else future.result().stdout))
