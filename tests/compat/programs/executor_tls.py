"""An `Executor` of a service with TLS, told its address only: `executor_tls.py ENDPOINT PACKAGES`."""

import json
import os
import sys

endpoint, packages = sys.argv[1:]
url = os.environ["BURSA_URL"].partition("#")[0]


def double(x):
    return 2 * x


if packages.startswith("funcx"):
    from funcx import FuncXClient, FuncXExecutor

    executor = FuncXExecutor(endpoint, funcx_client=FuncXClient(funcx_service_address=f"{url}/v2"))
else:
    from globus_compute_sdk import Client, Executor

    client = Client(do_version_check=False)
    client._compute_web_client.v2.base_url = client._compute_web_client.v3.base_url = url
    executor = Executor(endpoint, client=client)

with executor:
    large = executor.submit(len, "x" * 3_000_000)
    many = [executor.submit(double, n) for n in range(50)]
    print(json.dumps({"many": [future.result(90) for future in many], "large": large.result(90)}))
    print(json.dumps({"back": len(executor.submit(str.__mul__, "é", 2_000_000).result(90))}))
