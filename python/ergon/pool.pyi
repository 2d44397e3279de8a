from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypedDict

from typing_extensions import Unpack

from . import _core
from ._core import Future as Future
from ._core import _Files
from ._methods import Methods
from .serial import SerialPool as SerialPool

__all__ = ["Future", "Pool", "ProcessPool", "RemotePool", "SerialPool", "ThreadPool"]

class _Opening(TypedDict, total=False):
    initializer: Callable[..., object] | None
    initargs: Iterable[Any]
    max_tasks: int | None
    stop_limit: float
    grace: float
    require: Literal["first", "all"]
    stage_in: _Files | None
    stage_out: _Files | Callable[..., _Files] | None
    lineage: int | None

class Pool(Methods, _core.Pool):
    def __init__(
        self,
        *resources: str | Mapping[str, Any],
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        max_tasks: int | None = 0,
        stop_limit: float = 30.0,
        grace: float = 1.0,
        require: Literal["first", "all"] = "first",
        stage_in: _Files | None = None,
        stage_out: _Files | Callable[..., _Files] | None = None,
        lineage: int | None = None,
    ) -> None: ...
    @property
    def nodes(self) -> int: ...
    @nodes.setter
    def nodes(self, n: int | None) -> None: ...
    @property
    def stats(self) -> dict[str, Any]: ...
    def restart(self) -> None: ...
    def clear(self) -> None: ...

class ProcessPool(Pool):
    def __init__(self, n: int | None = None, **keywords: Unpack[_Opening]) -> None: ...

class ThreadPool(Pool):
    def __init__(self, n: int | None = None, **keywords: Unpack[_Opening]) -> None: ...

class RemotePool(Pool):
    def __init__(self, *hosts: str, **keywords: Unpack[_Opening]) -> None: ...
