"""funcX's last endpoint of its own (0.3.9): its HighThroughputExecutor, interchange, manager and 2 workers.

What the endpoint ran, without the hosted service in front of it.
"""

import uuid

from funcx_endpoint.executors import HighThroughputExecutor
from funcx_endpoint.executors.high_throughput import interchange
from parsl.providers import LocalProvider
from speak import Futures, serve


def start(variant):
    interchange.FuncXClient = lambda **options: None  # it would ask for a login; only containers need it
    executor = HighThroughputExecutor(
        max_workers_per_node=2,
        prefetch_capacity=64,
        passthrough=False,
        provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1),
        run_dir=".",
        endpoint_id=str(uuid.uuid4()),
        address="127.0.0.1",
    )
    executor.start()
    return Futures(executor.submit, executor.shutdown)


serve(start)
