"""`FuncXClient`: programs written for funcX run against Bursa."""

from __future__ import annotations

from typing import Any, Callable, Iterable, NamedTuple, Sized

from .client import Client
from .errors import Invalid, NotFound
from .future import TaskFuture
from .ids import to_raw
from .map import Results
from .outcome import ENDED, of_task, value_of

DEFAULT_WAIT = 60.0
"""Seconds that `get_result` waits by default, so that a script may ask right after `run`. 0: do not wait."""

FUTURES = 100_000
"""How many tasks whose results were not asked for are followed."""


class FuncXClient:
    """funcX's client. `client` is the Bursa client behind it; by default one with the usual settings."""

    def __init__(
        self,
        *args: Any,
        funcx_service_address: str | None = None,
        client: Client | None = None,
        memoize: bool = False,
        **ignored: Any,
    ) -> None:
        """`funcx_service_address` is this service's url (a path such as `/v2` is dropped); login options of
        funcX are taken and ignored, since Bursa has tokens. `memoize` all calls: as of `Client.submit`."""
        self._memoize = memoize
        self.client = client if client is not None else Client(_base(funcx_service_address))
        self._futures: dict[str, TaskFuture] = {}

    # Functions

    def register_function(
        self,
        function: Callable[..., Any],
        function_name: str | None = None,
        container_uuid: str | None = None,
        description: str | None = None,
        public: bool = False,
        group: str | None = None,
        searchable: bool = True,
    ) -> str:
        """Register a function; its id. `public`: everybody may call it; `group`: who is in this group."""
        function_id = self.client.register(
            function, name=function_name, description=description, container=container_uuid
        )
        if public or group is not None:
            groups = [] if group is None else [group]
            self.client.share(function_id, groups=groups, public=public)
        return function_id

    def search_function(
        self, q: str, offset: int = 0, limit: int = 10, **ignored: Any
    ) -> list[dict[str, Any]]:
        """Your functions whose name or description has `q`."""
        return self.client.functions(search=q)[offset : offset + limit]

    # Calls

    def run(self, *args: Any, endpoint_id: str | None = None, function_id: str, **kwargs: Any) -> str:
        """Call a registered function; the task's id."""
        return self._keep(self._submit(function_id, args, kwargs, endpoint_id))

    def _submit(
        self, function: str, args: tuple[Any, ...], kwargs: dict[str, Any], endpoint_id: str | None
    ) -> TaskFuture:
        memoize = self._memoize
        return self.client.submit(function, args, kwargs, endpoint_id=endpoint_id, memoize=memoize)

    def create_batch(self, task_group_id: str | None = None) -> Batch:
        """An empty batch, for `batch_run`."""
        return Batch()

    def batch_run(self, batch: Batch) -> list[str]:
        """Submit a batch; the tasks' ids in order."""
        return [self._keep(self._submit(*call)) for call in batch.calls]

    def map_run(
        self, *args: Any, endpoint_id: str | None = None, function_id: str, **kwargs: Any
    ) -> list[str]:
        """Call a function once for each item of the iterable `args[0]`; the tasks' ids in order."""
        (items,) = args
        return [self.run(item, endpoint_id=endpoint_id, function_id=function_id, **kwargs) for item in items]

    def fmap(
        self,
        function_id: str,
        iterator: Iterable[Any],
        endpoint_id: str | None = None,
        batch_size: int | None = None,
        batch_count: int | None = None,
    ) -> Results:
        """Call a function for each item, many items to a task: `batch_size` in each, or `batch_count` tasks
        for an iterable with a length, or what makes some milliseconds of work. The results in order."""
        chunk: int | str = batch_size or "auto"
        if batch_count:
            if not isinstance(iterator, Sized):
                raise Invalid("batch_count= needs an iterable with a length; pass a list, or batch_size=.")
            chunk = max(1, -(-len(iterator) // batch_count))
        return self.client.map(function_id, iterator, chunk=chunk, endpoint_id=endpoint_id)

    # Results

    def get_task(self, task_id: str) -> dict[str, Any]:
        """`{"task_id", "pending", "status"}`, and `result` or `exception` once it has ended."""
        return self._seen(self.client.task(self._futures.get(str(task_id), task_id)))

    def get_result(self, task_id: str, timeout: float = DEFAULT_WAIT) -> Any:
        """The value; the user's exception is raised with its remote traceback.

        Waits up to `timeout` seconds, then raises TaskPending.
        """
        future = self._futures.get(str(task_id))
        if future is None:
            return self.client.result(task_id, timeout)
        value = future.result(timeout)
        del self._futures[str(task_id)]
        return value

    def get_batch_result(self, task_id_list: Iterable[str]) -> dict[str, dict[str, Any]]:
        """What `get_task` says of each task, by id."""
        ids = [str(task_id) for task_id in task_id_list]
        tasks = self.client.tasks([self._futures.get(task_id, task_id) for task_id in ids])
        return {task_id: self._seen(task) for task_id, task in zip(ids, tasks)}

    get_batch_status = get_batch_result

    def _keep(self, future: TaskFuture) -> str:
        """Results of recent tasks come by the stream; of older ones by asking the service."""
        task_id = future.task_id
        if len(self._futures) >= FUTURES:
            self._futures.pop(next(iter(self._futures)))
        self._futures[task_id] = future
        return task_id

    def _seen(self, task: dict[str, Any]) -> dict[str, Any]:
        pending = task["state"] not in ENDED
        seen = {"task_id": task["task_id"], "pending": pending, "status": task["state"]}
        if pending:
            return seen
        seen["completion_t"] = task.get("ended_at")
        try:
            raw = to_raw(task["task_id"], "task")
            seen["result"] = value_of(self.client.opened(of_task(task), raw), raw, self.client.loads)
        except Exception as error:
            seen["exception"] = error
        return seen

    # Endpoints and containers

    def get_endpoint_status(self, endpoint_uuid: str) -> dict[str, Any]:
        """`status` (online or offline) and its newest report as `logs`."""
        status = self.client.endpoint_status(endpoint_uuid)
        return {**status, "logs": [status]}

    def register_container(
        self, location: str, container_type: str, name: str = "", description: str = ""
    ) -> str:
        """Register an image by its location and type; its id."""
        return self.client.register_container(location, container_type, name, description)

    def get_container(self, container_uuid: str, container_type: str) -> dict[str, Any]:
        """`container_uuid`, `name`, `type` and `location` of a container of this type."""
        found = self.client.container(container_uuid)
        if found["type"] != container_type.lower():
            raise NotFound(
                f"Container {container_uuid} is of type {found['type']}, not {container_type}; "
                "ask for it by its own type."
            )
        return {
            "container_uuid": found["container_id"],
            "name": found["name"],
            "type": found["type"],
            "location": found["location"],
        }


class _Call(NamedTuple):
    function: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    endpoint_id: str | None


class Batch:
    """Calls for `FuncXClient.batch_run`."""

    def __init__(self) -> None:
        self.calls: list[_Call] = []

    def add(self, *args: Any, endpoint_id: str | None = None, function_id: str, **kwargs: Any) -> None:
        """Add one call of a registered function."""
        self.calls.append(_Call(str(function_id), args, kwargs, endpoint_id))


def _base(address: str | None) -> str | None:
    """The service's url without the API version that funcX programs write behind it."""
    if address is None:
        return None
    head, _, last = address.rstrip("/").rpartition("/")
    return head if last in ("v1", "v2", "v3") else address
