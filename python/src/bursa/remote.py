"""`@bursa.function`: a function that can also be called on an endpoint."""

from __future__ import annotations

import functools
from typing import Any, Callable, Generic, Iterable, TypeVar, overload

from .client import Client
from .config import Settings, settings
from .containers import Container
from .future import TaskFuture
from .map import Results
from .resources import Resources
from .serialize import identity

F = TypeVar("F", bound=Callable[..., Any])

_shared: dict[Settings, Client] = {}


def shared_client() -> Client:
    """The process's client for the settings of now."""
    now = settings()
    client = _shared.get(now)
    if client is None:
        client = _shared[now] = Client(*now)
    return client


class Function(Generic[F]):
    """Called as before it runs here; `remote` runs it on an endpoint. It travels as the plain function."""

    def __init__(
        self,
        function: F,
        name: str | None,
        endpoint_id: str | None,
        client: Client | None,
        memoize: bool = False,
        container: Container | None = None,
        resources: Resources | None = None,
    ) -> None:
        functools.update_wrapper(self, function)
        self._function, self._name = function, name
        self._endpoint_id, self._client, self._memoize = endpoint_id, client, memoize
        self._container, self._resources = container, resources
        self._id: str | None = None

    def __reduce__(self) -> Any:
        return identity, (self._function,)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def local(self, *args: Any, **kwargs: Any) -> Any:
        """Run it here."""
        return self._function(*args, **kwargs)

    def remote(self, *args: Any, **kwargs: Any) -> TaskFuture:
        """Run it on the endpoint; a future."""
        return self._ready().submit(self._callee(), args, kwargs, **self._options())

    def map(self, iterable: Iterable[Any], /, *iterables: Iterable[Any], **options: Any) -> Results:
        """Run it for each item; the results in order. `options` as of `Client.map`."""
        options = {**self._options(), **options}
        return self._ready().map(self._callee(), iterable, *iterables, **options)

    def _options(self) -> dict[str, Any]:
        return {
            "endpoint_id": self._endpoint_id,
            "memoize": self._memoize,
            "container": self._container,
            "resources": self._resources,
        }

    def _ready(self) -> Client:
        if self._client is None:
            self._client = shared_client()
        return self._client

    def _callee(self) -> Any:
        if self._name is None:
            return self._function
        if self._id is None:
            self._id = self._ready().register(self._function, name=self._name)
        return self._id


@overload
def function(wrapped: F) -> Function[F]: ...
@overload
def function(
    *,
    name: str | None = None,
    endpoint_id: str | None = None,
    client: Client | None = None,
    memoize: bool = False,
    container: Container | None = None,
    resources: Resources | None = None,
) -> Callable[[F], Function[F]]: ...


def function(
    wrapped: Any = None,
    *,
    name: str | None = None,
    endpoint_id: str | None = None,
    client: Client | None = None,
    memoize: bool = False,
    container: Container | None = None,
    resources: Resources | None = None,
) -> Any:
    """`@function` or `@function(name=…, endpoint_id=…)`. Without `client`: one with the usual settings.

    `memoize`: calls on the endpoint may have the results of equal ones; `container`: where they run;
    `resources`: what each needs of a node (see `Client.submit`).
    """
    if wrapped is None:
        return lambda later: Function(later, name, endpoint_id, client, memoize, container, resources)
    return Function(wrapped, name, endpoint_id, client, memoize, container, resources)
