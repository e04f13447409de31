"""A client of any age without a secret: it asks for a login, and calls. `logged_in.py ENDPOINT AGE`."""

import json
import os
import sys
import time

endpoint, age = sys.argv[1:]


def client():
    if age.startswith("funcx"):
        from funcx import FuncXClient

        return FuncXClient(funcx_service_address=f"{os.environ['BURSA_URL']}/v2")
    from globus_compute_sdk import Client

    return Client()


def double(x):
    return 2 * x


def result(task):
    while True:
        try:
            return theirs.get_result(task)
        except Exception as error:
            if type(error).__name__ != "TaskPending":
                raise
            time.sleep(0.05)


theirs = client()
function = theirs.register_function(double)
task = theirs.run(21, endpoint_id=endpoint, function_id=function)
print(json.dumps({"result": result(task)}), flush=True)
if "--logout" in os.environ.get("THEN", ""):
    theirs.logout()
    print(json.dumps({"logged_out": True}), flush=True)
