import concurrent.futures
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ParamSpec, TypeVar

__all__ = ["Executor"]

_P = ParamSpec("_P")
_R = TypeVar("_R")

class Executor(concurrent.futures.Executor):
    def __init__(self, pool: Any) -> None: ...
    def submit(self, fn: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs) -> concurrent.futures.Future[_R]: ...
    def map(
        self, fn: Callable[..., _R], *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[_R]: ...
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None: ...
