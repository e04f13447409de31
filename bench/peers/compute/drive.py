"""Globus Compute's own `Executor`, its calls run at one of the places of `places.py`; 2 workers at each.

Its throttle of small batches is raised as far as it goes; larger ones it does not throttle.
"""

import os
from contextlib import ExitStack
from types import FunctionType

from places import PLACES
from speak import Futures, serve


def own(function):
    """The same function as if the user's program had it: it travels by value, as programs' do."""
    copy = FunctionType(function.__code__, globals(), function.__name__)
    copy.__module__ = "__main__"
    return copy


def start(variant):
    place, _, engine = variant.partition(" ")
    stack, made = ExitStack(), {}
    endpoint, environment = stack.enter_context(PLACES[place](engine or "default"))
    os.environ.update(environment)
    from globus_compute_sdk import Executor  # it reads the environment

    executor = stack.enter_context(Executor(endpoint, api_burst_limit=8, api_burst_window_s=1))

    def submit(function, argument):
        if function not in made:
            made[function] = own(function)
        return executor.submit(made[function], argument)

    return Futures(submit, stack.close)


serve(start)
