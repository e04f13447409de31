"""Parsl's HighThroughputExecutor, 2 workers.

`default`: an app on an executor with its defaults. `tuned`: prefetch, no encryption, no strategy.
`raw`: the tuned executor without Parsl's data flow kernel. Apps are not memoized.
"""

import parsl
import work
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider
from speak import Futures, serve


def executor(variant):
    tuned = {} if variant == "default" else {"prefetch_capacity": 64, "encrypted": False}
    provider = LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1)
    return HighThroughputExecutor(
        label="htex",
        address="127.0.0.1",
        max_workers_per_node=2,
        cores_per_worker=1,
        provider=provider,
        **tuned,
    )


def start(variant):
    htex = executor(variant)
    if variant == "raw":
        htex.run_dir, htex.provider.script_dir = ".", "."
        htex.start()
        htex.scale_out_facade(1)
        return Futures(lambda function, argument: htex.submit(function, {}, argument), htex.shutdown)
    tuned = {} if variant == "default" else {"strategy": "none", "garbage_collect": False}
    kernel = parsl.load(Config(executors=[htex], run_dir="runinfo", initialize_logging=False, **tuned))
    apps = {function: parsl.python_app(function, cache=False) for function in (work.same, work.sleep)}

    def close():
        kernel.cleanup()

    return Futures(lambda function, argument: apps[function](argument), close)


serve(start)
