"""Globus Compute's engines as its endpoint uses them, without the hosted service; 2 workers.

`default`: GlobusComputeEngine. `tuned`: the same with prefetch and without encryption. `processpool`:
ProcessPoolEngine. A call is packed and its result unpacked by the SDK's
serializer, as SDK and endpoint do.
"""

import uuid

import work
from globus_compute_common import messagepack
from globus_compute_common.messagepack.message_types import Task
from globus_compute_endpoint.engines import GlobusComputeEngine, ProcessPoolEngine
from globus_compute_endpoint.engines.base import GCFuture
from globus_compute_sdk.serialize import ComputeSerializer
from parsl.providers import LocalProvider
from speak import serve


def engine(variant):
    if variant == "processpool":
        return ProcessPoolEngine(max_workers=2)
    tuned = {} if variant == "default" else {"prefetch_capacity": 64, "encrypted": False}
    provider = LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1)
    return GlobusComputeEngine(address="127.0.0.1", max_workers_per_node=2, provider=provider, **tuned)


class Engine:
    def __init__(self, variant):
        self.engine = engine(variant)
        self.serializer = ComputeSerializer()
        self.code = {}
        for function in (work.same, work.sleep):
            self.code[function] = self.serializer.serialize(function)
        self.engine.start(endpoint_id=uuid.uuid4(), run_dir=".")

    def submit(self, function, argument):
        task_id = uuid.uuid4()
        parts = [self.code[function], self.serializer.serialize((argument,)), self.serializer.serialize({})]
        buffer = self.serializer.pack_buffers(parts)
        task = Task(task_id=task_id, container_id=uuid.uuid4(), task_buffer=buffer)
        future = GCFuture(task_id)
        self.engine.submit(future, messagepack.pack(task), {})
        return future

    def result(self, future):
        answer = messagepack.unpack(future.result())
        if answer.error_details is not None:
            raise RuntimeError(answer.data)
        return self.serializer.deserialize(answer.data)

    def one(self, function, argument):
        return self.result(self.submit(function, argument))

    def many(self, function, arguments):
        futures = [self.submit(function, argument) for argument in arguments]
        return [self.result(future) for future in futures]

    def close(self):
        self.engine.shutdown()


serve(Engine)
