"""Ray here with 2 CPUs and no dashboard; `tasks`: remote functions, `actors`: two actors that take turns."""

import ray
import work
from speak import serve


class Tasks:
    def __init__(self):
        self.remote = {function: ray.remote(function) for function in (work.same, work.sleep)}

    def one(self, function, argument):
        return ray.get(self.remote[function].remote(argument))

    def many(self, function, arguments):
        remote = self.remote[function]
        return ray.get([remote.remote(argument) for argument in arguments])

    def close(self):
        ray.shutdown()


@ray.remote(num_cpus=1)
class Worker:
    def same(self, value):
        return value

    def sleep(self, seconds):
        return work.sleep(seconds)


class Actors:
    def __init__(self):
        self.workers = [Worker.remote() for _ in range(2)]

    def one(self, function, argument):
        return ray.get(getattr(self.workers[0], function.__name__).remote(argument))

    def many(self, function, arguments):
        methods = [getattr(worker, function.__name__) for worker in self.workers]
        return ray.get([methods[number % 2].remote(argument) for number, argument in enumerate(arguments)])

    def close(self):
        ray.shutdown()


def start(variant):
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    return {"tasks": Tasks, "actors": Actors}[variant]()


serve(start)
