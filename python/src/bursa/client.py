"""The client: functions, tasks and endpoints of one service."""

from __future__ import annotations

import atexit
import base64
import os
import time
import uuid
import weakref
from typing import TYPE_CHECKING, Any, Callable, Iterable, Union

from .chunks import Inputs, Plan, fixed_size
from .config import settings
from .containers import Container, Containers
from .errors import Invalid, NotFound, TaskPending, TooLarge, Unavailable
from .future import TaskFuture
from .ids import new_id, to_raw, to_text
from .map import Calls, Results
from .options import checked
from .outcome import CANCELLED, ENDED, Outcome, of_task, value_of
from .progress import Bar
from .registry import Registry, body_of, name_of
from .resources import Resources, checked_resources, frozen
from .rest import Rest, segment
from .secrets import Secrets
from .serialize import LIMIT, LOADERS, dumps_call
from .sharing import Sharing
from .stream import Route, Stream

if TYPE_CHECKING:
    from .sealed import Seals

Callee = Union[Callable[..., Any], str, uuid.UUID]
"""A function, or the id of a registered one."""

Task = Union[TaskFuture, str, uuid.UUID]
"""A future, or the id of a task."""

_TASK = (TaskFuture, str, uuid.UUID)

ROUTES = 1024
"""How many functions are remembered by identity."""

FLUSH = 10.0
"""Seconds that closing waits for the service to accept what was submitted."""

_FOR_ONE = "A sealed function is for one endpoint; call it, and it is registered for that one."
_WAIT = 50
_LIST = 1000
_clients: weakref.WeakSet[Client] = weakref.WeakSet()


class Client:
    """A service as one user sees it. Threads may share it; close it, or use it in a `with` statement."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        home: str | os.PathLike[str] | None = None,
        results: str = "any",
        sealed: bool = False,
    ) -> None:
        """`url` and `token` default to BURSA_URL and BURSA_TOKEN, then to `<home>/client.toml`.

        `results="data"` reads builtins and numpy arrays only, so that an endpoint that you do not trust
        cannot run code here. `sealed=True`: functions and arguments that only their endpoint can read, and
        results that only this home can; the service sees none of them (docs/security.md).
        """
        if results not in LOADERS:
            raise Invalid(
                f"results={results!r} is unknown, since it is 'any' or 'data'; choose one of the two."
            )
        self.url, self._token = settings(url, token, home)
        self.loads = LOADERS[results]
        self._home, self._sealed = home, sealed
        self._reset()
        _clients.add(self)

    def _reset(self) -> None:
        """Fresh connections; what a fork's child needs too."""
        self._rest = Rest(self.url, self._token)
        self._registry, self._containers = Registry(self._rest), Containers(self._rest)
        self._seals = self._make_seals() if self._sealed else None
        self._sharing, self._secrets = Sharing(self._rest), Secrets(self._rest)
        self._group = new_id()
        self._stream: Stream | None = None
        self._routes: dict[Any, tuple[Any, Route]] = {}
        self._only_endpoint: bytes | None = None
        self._closed = False

    def _make_seals(self) -> Seals:
        from .sealed import Seals

        return Seals(self._home, lambda endpoint: self._rest.get(f"/endpoints/{segment(endpoint)}"))

    @property
    def group_id(self) -> str:
        """The task group of everything that this client submits."""
        return to_text(self._group)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise TypeError("a bursa.Client cannot travel to an endpoint; make one inside the function")

    def close(self) -> None:
        """Waits (10 s at most) until the service has accepted what was submitted, then disconnects.

        Tasks go on; futures that have not ended fail as Unavailable.
        """
        self._closed = True
        stream = self._stream
        if stream is not None:
            stream.close(FLUSH)
        self._rest.close()

    # Calling

    def run(
        self,
        function: Callee,
        /,
        *args: Any,
        endpoint_id: str | None = None,
        memoize: bool = False,
        **kwargs: Any,
    ) -> TaskFuture:
        """Call `function(*args, **kwargs)` on an endpoint: by default your only one.

        A function is registered at its first call; what it refers to (globals, closure) is taken along then.
        Use `submit` for a function with a parameter named `endpoint_id` or `memoize`, and for options.
        """
        if memoize:
            return self.submit(function, args, kwargs, endpoint_id=endpoint_id, memoize=True)
        return self._send(self._route(function, endpoint_id), dumps_call(args, kwargs))

    def submit(
        self,
        function: Callee,
        args: Iterable[Any] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        endpoint_id: str | None = None,
        retries: int | None = None,
        retry_on_error: int | None = None,
        timeout: float | None = None,
        deadline: float | None = None,
        memoize: bool = False,
        container: Container | None = None,
        resources: Resources | None = None,
    ) -> TaskFuture:
        """Like `run`, with options: `timeout` bounds one execution, `deadline` the whole task (seconds).

        `memoize`: take the result of an equal call if there is one, and keep this one's for later calls;
        `future.memo` says which it was. docs/memoization.md says when that is right.
        `container`: run it there; by default where the function says, or in the endpoint's own environment,
        which is `bursa.RAW`.
        `resources`: what it needs of a node, such as `{"cores": 2, "memory": "4GB", "gpus": 1}`; by default
        one slot. docs/functions.md says more.
        """
        asked = frozen(resources)
        options = (retries, retry_on_error, timeout, deadline, memoize or None, container, asked)
        payload = _arguments(tuple(args), kwargs or {}, memoize)
        return self._send(self._route(function, endpoint_id, options), payload)

    def map(
        self,
        function: Callee,
        iterable: Iterable[Any],
        /,
        *iterables: Iterable[Any],
        chunk: int | str = "auto",
        endpoint_id: str | None = None,
        retries: int | None = None,
        retry_on_error: int | None = None,
        timeout: float | None = None,
        deadline: float | None = None,
        memoize: bool = False,
        container: Container | None = None,
        resources: Resources | None = None,
        return_exceptions: bool = False,
        progress: bool | None = None,
    ) -> Results:
        """`map(function, iterable, …)` on an endpoint: the results in order, while they are read.

        Each task has a chunk of items: `chunk` of them, or by default what makes some milliseconds of work.
        `timeout` bounds the run of one item; `retries`, `retry_on_error` and `deadline` are of chunks.
        `memoize`: items are memoized one by one, or with a fixed `chunk` chunk by chunk (see `submit`).
        `container`, `resources`: as of `submit`, for each chunk.
        `return_exceptions`: give the exceptions of items as values. `progress`: a bar; by default on a
        terminal and in a notebook. docs/map.md says what happens when items fail.
        """
        given = (iterable, *iterables)
        options = (retries, retry_on_error, deadline, memoize or None, container, frozen(resources))
        calls = Calls(self, function, endpoint_id, options)
        bar = Bar(given, progress)
        size = fixed_size(1 if memoize and chunk == "auto" else chunk)
        plan = Plan(size, checked((None, None, timeout)).get("timeout"))
        return Results(calls, Inputs(given), plan, return_exceptions=return_exceptions, bar=bar)

    def batch(
        self,
        endpoint_id: str | None = None,
        memoize: bool = False,
        container: Container | None = None,
        resources: Resources | None = None,
    ) -> Batch:
        """Collects calls and submits them together; `memoize`, `container`, `resources` as of `submit`."""
        return Batch(self, endpoint_id, memoize, container, resources)

    def _send(self, route: Route, args: bytes) -> TaskFuture:
        if len(args) > LIMIT:
            raise TooLarge(
                f"The arguments are {len(args)} bytes, which is over the limit of {LIMIT}; "
                "pass less, or write them to a file that the endpoint can read."
            )
        future = TaskFuture(new_id(), self)
        if self._seals is not None:
            args = self._seals.arguments(args, future.raw, route.fields["endpoint"])
        stream = self._stream
        if stream is None or stream.over:
            stream = self._connect()
        stream.submit(future, args, route)
        return future

    def _connect(self) -> Stream:
        if self._closed:
            raise Unavailable("This client is closed; make a new one.")
        self._stream = stream = Stream(self.url, self._token, self._group)
        return stream

    def _route(self, function: Callee, endpoint_id: str | None, options: tuple[Any, ...] = ()) -> Route:
        if options and options[4] and callable(function):
            # As it is now: with other globals it is another function, whose results are others.
            function = self._registry.of_function(function)
        key = (id(function), endpoint_id, options, *map(type, options))  # types: True equals 1
        try:
            held = self._routes.get(key)
        except TypeError:  # what has no hash is refused below
            held = None
        if held is None:
            named, endpoint = checked(options), self._endpoint(endpoint_id)
            if self._sealed and named.get("memoize"):
                raise Invalid(
                    "Sealed calls cannot be memoized, since no two look equal; leave out one of the two."
                )
            if "resources" not in named and hasattr(function, "__resources__"):
                named["resources"] = checked_resources(frozen(function.__resources__))
            raw = to_raw(self._function_id(function, endpoint), "function")
            route = Route(raw, endpoint, **named)
            if len(self._routes) >= ROUTES:
                self._routes.pop(next(iter(self._routes)), None)
            held = self._routes[key] = (function, route)  # holds the function, so that its id() stays its own
        return held[1]

    def _function_id(self, function: Callee, endpoint: bytes | None = None) -> str:
        if isinstance(function, (str, uuid.UUID)):
            return str(function)
        if not callable(function):
            raise Invalid(f"{function!r} is neither a function nor the id of one; pass one of the two.")
        if self._seals is None:
            return self._registry.of_function(function)
        if endpoint is None:
            raise Invalid(_FOR_ONE)
        return self._registry.of_function(function, self._seals, endpoint)

    def opened(self, outcome: Outcome, task: bytes) -> Outcome:
        """How a task ended, unsealed if it was sealed."""
        return outcome if self._seals is None else self._seals.opened(outcome, task)

    def _endpoint(self, endpoint: str | uuid.UUID | None) -> bytes:
        """Raw id of an endpoint given by id or name, or of the caller's only one."""
        if endpoint is not None:
            try:
                return uuid.UUID(str(endpoint)).bytes
            except ValueError:
                return self._endpoint_named(str(endpoint))
        if self._only_endpoint is None:
            found = self.endpoints()
            if len(found) != 1:
                raise NotFound(_which_endpoint(found))
            self._only_endpoint = to_raw(found[0]["endpoint_id"], "endpoint")
        return self._only_endpoint

    def _endpoint_named(self, name: str) -> bytes:
        found = [endpoint for endpoint in self.endpoints() if endpoint["name"] == name]
        if len(found) != 1:
            raise NotFound(
                f"You have {len(found)} endpoints with the name {name!r}; pass endpoint_id= as an id."
            )
        return to_raw(found[0]["endpoint_id"], "endpoint")

    # Tasks

    def result(self, task: Task, timeout: float | None = None) -> Any:
        """The value of a task, its exception raised; TaskPending after `timeout` seconds (None: no limit)."""
        if isinstance(task, TaskFuture):
            return task.result(timeout)
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _WAIT if until is None else min(_WAIT, max(0.0, until - time.monotonic()))
            found = self.task(task, wait=left)
            if found["state"] in ENDED:
                raw = to_raw(found["task_id"], "task")
                return value_of(self.opened(of_task(found), raw), raw, self.loads)
            if until is not None and time.monotonic() >= until:
                raise TaskPending(
                    f"Task {found['task_id']} has not ended within {timeout} s (it is {found['state']}); "
                    "ask for the result again later.",
                    task_id=found["task_id"],
                    state=found["state"],
                )

    def task(self, task: Task, wait: float = 0) -> dict[str, Any]:
        """Everything known about a task; payloads and `output` as bytes.

        `wait`: how many seconds (50 at most) to wait for its end.
        """
        return decoded(self._rest.get(f"/tasks/{_task_id(task)}", wait=wait or None))

    def tasks(self, tasks: Iterable[Task], wait: float = 0) -> list[dict[str, Any]]:
        """Like `task`, for many, in order."""
        given = list(tasks)
        found: list[dict[str, Any]] = []
        for start in range(0, len(given), _LIST):
            ids = [_task_id(task) for task in given[start : start + _LIST]]
            while ids:  # an answer has as many as it has room for
                answer = self._rest.post("/tasks/get", {"task_ids": ids, "wait": wait or None})
                found += [decoded(task) for task in answer["tasks"]]
                ids = answer.get("left")
        return found

    def status(self, task: Task) -> str:
        """The state of a task: `received`, …, `running`, `success`, `failed` or `cancelled`."""
        return self.task(task)["state"]

    def explain(self, task: Task) -> dict[str, Any]:
        """Why a task waits, or how it ended: `message` (a sentence), `next` (what to do), and the facts."""
        return self._rest.get(f"/tasks/{_task_id(task)}/explain")

    def cancel(self, *tasks: Task | Iterable[Task]) -> list[str]:
        """Cancel tasks, or lists of them, that have not ended; the state of each afterwards, in order.

        Returns when that is on disk. A task that was quicker keeps its end; cancelling again changes nothing.
        """
        given = [task for each in tasks for task in ([each] if isinstance(each, _TASK) else each)]
        self._withdraw([task for task in given if isinstance(task, TaskFuture) and not task.done()])
        # A future that is cancelled by now needs no request, and may never have been the service's.
        states = ["cancelled" if isinstance(task, TaskFuture) and task.cancelled() else "" for task in given]
        left = [place for place, state in enumerate(states) if not state]
        for start in range(0, len(left), _LIST):
            places = left[start : start + _LIST]
            ids = [_task_id(given[place]) for place in places]
            for place, answer in zip(places, self._rest.post("/tasks/cancel", {"task_ids": ids})["tasks"]):
                states[place], task = answer["state"], given[place]
                if states[place] == "cancelled" and isinstance(task, TaskFuture):
                    task.end(CANCELLED)
        return states

    def cancel_group(self, group_id: str | None = None) -> int:
        """Cancel all tasks of a group that have not ended, by default all of this client; how many were."""
        own = group_id is None or group_id == self.group_id
        count = self._withdraw(self._stream.pending()) if own and self._stream is not None else 0
        try:
            ended = self._rest.post("/tasks/cancel", {"group_id": group_id or self.group_id})["tasks"]
        except NotFound:
            if not own:
                raise
            ended = []  # nothing of it was accepted
        return count + sum(task["state"] == "cancelled" for task in ended)

    def _withdraw(self, futures: list[TaskFuture]) -> int:
        """Cancels what the service has not accepted yet; how many that were."""
        if self._stream is None or not futures:
            return 0
        withdrawn = self._stream.withdraw(futures, FLUSH)
        for future in futures:
            if future.raw in withdrawn:
                future.end(CANCELLED)
        return len(withdrawn)

    def cancel_one(self, future: TaskFuture) -> bool:
        """What `future.cancel()` does: whether the task is cancelled now."""
        if future.done():
            return future.cancelled()
        return self.cancel(future) == ["cancelled"]

    def read_for(self, future: TaskFuture, until: float | None) -> None:
        """Reads in this thread until the future has ended or it is `until`; may leave that to another."""
        if self._stream is not None:
            self._stream.read_for(future, until)

    def wait_accepted(self, futures: list[TaskFuture]) -> None:
        """Waits (10 s at most) until the service has these tasks: it answers about no others."""
        if self._stream is not None and futures:
            self._stream.wait_accepted(futures, FLUSH)

    # Memoized results

    def memo(self) -> dict[str, int]:
        """What you have of memoized results: `entries`, `bytes`, and how many `hits` there were so far."""
        return self._rest.get("/memo")

    def clear_memo(self, function_id: str | None = None, endpoint_id: str | None = None) -> int:
        """Forget memoized results: all of yours, or those of a function's code, of an endpoint, of both.

        How many they were. Equal calls run again.
        """
        return self._rest.delete("/memo", function_id=function_id, endpoint_id=endpoint_id)["removed"]

    # Functions

    def register(
        self,
        function: Callable[..., Any],
        name: str | None = None,
        description: str | None = None,
        container: Container | None = None,
    ) -> str:
        """Register a function; its id, for `run`. (`run` registers by itself what it is given.)

        `container`: where it is called unless a call says otherwise.
        """
        if self._sealed:
            raise Invalid(_FOR_ONE)
        body = body_of(function)
        return self._registry.register(name or name_of(function), body, description, container)

    def register_body(self, name: str, body: bytes, description: str | None = None) -> str:
        """Register a payload that was made elsewhere; its function id."""
        return self._registry.register(name, body, description, None)

    def functions(self, search: str | None = None, shared: bool = False) -> list[dict[str, Any]]:
        """Your functions, newest first; `search` matches name and description.

        `shared`: others' that you may call.
        """
        return self._rest.pages("/functions", "functions", search=search, shared="true" if shared else None)

    def delete_function(self, function_id: str) -> None:
        """Tasks already accepted keep it."""
        self._rest.delete(f"/functions/{segment(function_id)}")

    # Sharing

    def share(
        self,
        thing: Callee,
        users: Iterable[str] = (),
        groups: Iterable[str] = (),
        public: bool = False,
        role: str = "user",
        functions: Iterable[Callee] = (),
        core_hours: float | None = None,
        per: str | None = None,
        at_once: int | None = None,
    ) -> None:
        """Let others use a function, or what has this id: a function, endpoint, container or group of tasks.

        `users`, `groups`: names or ids; `public`: everybody who has a token; `role`: `user`, or `admin`,
        who may share it too. Bounds of an endpoint: only these `functions`, so many `core_hours` each `day`
        or `week` (`per`), so many tasks `at_once` of each user. See docs/sharing.md.
        """
        only = [self._function_id(function) for function in functions]
        bounds = {"functions": only or None, "core_hours": core_hours, "per": per, "at_once": at_once}
        with_whom = {"users": list(users), "groups": list(groups), "public": public, "role": role}
        self._sharing.share(self._shared(thing), {**with_whom, **bounds})

    def unshare(
        self, thing: Callee, users: Iterable[str] = (), groups: Iterable[str] = (), public: bool = False
    ) -> None:
        """Let them use it no longer: what they have submitted goes on."""
        self._sharing.unshare(self._shared(thing), list(users), list(groups), public)

    def shares(self, thing: Callee) -> list[dict[str, Any]]:
        """With whom it is shared, and how."""
        return self._sharing.list(self._shared(thing))

    def _shared(self, thing: Callee) -> tuple[str, str]:
        """Kind and id of what is to be shared."""
        if callable(thing):
            return "functions", self._function_id(thing)
        return self._sharing.find(str(thing))

    # Secrets

    def set_secret(self, name: str, value: str, functions: Iterable[Callee] = ()) -> None:
        """Set a secret, or another value for it, that your calls of these functions find in `os.environ`.

        What they print and raise shows `***` instead; what they return is as it is. See docs/secrets.md.
        """
        self._secrets.set(name, value)
        for function in functions:
            self.grant_secret(name, function)

    def secrets(self) -> list[dict[str, Any]]:
        """Your secrets, without their values, and the functions that they are granted to."""
        return self._secrets.list()

    def grant_secret(self, name: str, function: Callee, endpoints: Iterable[str] = ()) -> None:
        """Let your calls of `function` have it at your endpoints, and at these of others."""
        self._secrets.grant(name, self._function_id(function), [str(endpoint) for endpoint in endpoints])

    def revoke_secret(self, name: str, function: Callee) -> None:
        """Calls of `function` that are sent from now on have it no longer."""
        self._secrets.revoke(name, self._function_id(function))

    def delete_secret(self, name: str) -> None:
        """Calls that are sent from now on have it no longer."""
        self._secrets.delete(name)

    # Containers

    def register_container(
        self, location: str, type: str = "docker", name: str = "", description: str = ""
    ) -> str:
        """Register an image by its type and location, which never change; its id. See docs/containers.md."""
        return self._containers.register(location, type, name, description)

    def containers(self, search: str | None = None) -> list[dict[str, Any]]:
        """Your containers, newest first; `search` matches name, location and description."""
        return self._containers.list(search)

    def container(self, container_id: Container) -> dict[str, Any]:
        """What is known of a container."""
        return self._containers.get(container_id)

    def delete_container(self, container_id: Container) -> None:
        """Tasks already accepted still run in it; later calls in it are refused."""
        self._containers.delete(container_id)

    # Endpoints

    def endpoints(self, shared: bool = False) -> list[dict[str, Any]]:
        """Your endpoints, newest first. `shared`: others' that you may use."""
        return self._rest.pages("/endpoints", "endpoints", shared="true" if shared else None)

    def endpoint_status(self, endpoint_id: str) -> dict[str, Any]:
        """`status` (online or offline), host, slots, queue; `degraded`: why it does less than it should."""
        return self._rest.get(f"/endpoints/{segment(endpoint_id)}/status")

    def delete_endpoint(self, endpoint_id: str) -> None:
        """Its live tasks end as `endpoint-deleted`."""
        self._rest.delete(f"/endpoints/{segment(endpoint_id)}")


class Batch:
    """Calls that are submitted together. Arguments are taken as they are when they are added."""

    def __init__(
        self,
        client: Client,
        endpoint_id: str | None = None,
        memoize: bool = False,
        container: Container | None = None,
        resources: Resources | None = None,
    ) -> None:
        self._client, self._endpoint_id, self._memoize = client, endpoint_id, memoize
        self._options = (None, None, None, None, memoize or None, container, frozen(resources))
        self._calls: list[tuple[Route, bytes]] = []

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, function: Callee, /, *args: Any, **kwargs: Any) -> None:
        """Add the call `function(*args, **kwargs)`."""
        route = self._client._route(function, self._endpoint_id, self._options)
        self._calls.append((route, _arguments(args, kwargs, self._memoize)))

    def submit(self) -> list[TaskFuture]:
        """The futures, in order of `add`; the batch is empty afterwards."""
        calls, self._calls = self._calls, []
        return [self._client._send(route, args) for route, args in calls]


def _arguments(args: tuple[Any, ...], kwargs: dict[str, Any], memoize: bool) -> bytes:
    """The payload of a call; of one that is to equal others without regard to the order of keywords."""
    return dumps_call(args, dict(sorted(kwargs.items())) if memoize else kwargs)


def decoded(task: dict[str, Any]) -> dict[str, Any]:
    """A task of the service with bytes where JSON has base64 text."""
    for key in ("result", "exception", "output"):
        if key in task:
            task[key] = base64.b64decode(task[key])
    return task


def _task_id(task: Task) -> str:
    return task.task_id if isinstance(task, TaskFuture) else segment(str(task))


def _which_endpoint(found: list[dict[str, Any]]) -> str:
    if not found:
        return "You have no endpoint to run on; start one with `bursa up` or `bursa endpoint start`."
    names = ", ".join(f"{endpoint['name']} {endpoint['endpoint_id']}" for endpoint in found)
    return f"You have several endpoints ({names}); say which with endpoint_id=."


def _at_exit() -> None:
    """What was submitted last is accepted before the interpreter goes."""
    for client in list(_clients):
        client.close()


def _after_fork() -> None:
    """A child has its parent's sockets and locks but not its threads: it starts afresh."""
    for client in list(_clients):
        stream = client._stream
        if stream is not None:
            stream.forget()
        client._reset()


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_after_fork)
