"""HyperQueue's server and a worker of 2 cores here. It runs programs: `true` and `sleep`, no values.

A batch is one job of as many tasks, without files for their output.
"""

import subprocess

import hyperqueue
import work
from hyperqueue.cluster import LocalCluster, WorkerConfig
from speak import serve


class Programs:
    def __init__(self):
        self.cluster = LocalCluster()
        self.cluster.start_worker(WorkerConfig(cores=2))
        self.client = self.cluster.client()

    def one(self, function, argument):
        return self.many(function, [argument])[0]

    def many(self, function, arguments):
        if function is work.same and any(isinstance(argument, bytes) for argument in arguments):
            raise NotImplementedError("programs have no arguments and results of 1 MiB")
        job = hyperqueue.Job()
        for argument in arguments:
            command = ["true"] if function is work.same else ["sleep", str(argument)]
            job.program(command, stdout=None, stderr=None)
        self.client.wait_for_jobs([self.client.submit(job)])  # raises if a program failed
        return arguments

    def close(self):
        self.cluster.stop()


def start(variant):
    subprocess.run(["true"], check=True)
    return Programs()


serve(start)
