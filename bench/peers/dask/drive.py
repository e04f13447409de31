"""Dask's LocalCluster: 2 worker processes of one thread, no dashboard, no profiler; a batch is one `map`."""

import dask
from distributed import Client, LocalCluster
from speak import serve


class Dask:
    def __init__(self):
        dask.config.set({"distributed.worker.profile.enabled": False})
        self.cluster = LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
        )
        self.client = Client(self.cluster)

    def one(self, function, argument):
        return self.client.submit(function, argument, pure=False).result()

    def many(self, function, arguments):
        return self.client.gather(self.client.map(function, arguments, pure=False))

    def close(self):
        self.client.close()
        self.cluster.close()


if __name__ == "__main__":  # its workers are spawned, and import this file
    serve(lambda variant: Dask())
