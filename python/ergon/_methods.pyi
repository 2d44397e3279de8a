from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from typing_extensions import Unpack

from ._core import _Options
from .executor import Executor

__all__ = ["Methods", "check_opening"]

_R = TypeVar("_R")

def check_opening(
    initializer: Callable[..., object] | None,
    max_tasks: int | None,
    require: Literal["first", "all"],
    lineage: int | None = None,
) -> None: ...

class Methods:
    def map_reduce(
        self,
        f: Callable[..., _R],
        reduce: Callable[[_R, _R], _R],
        /,
        *iterables: Iterable[Any],
        **options: Unpack[_Options],
    ) -> _R: ...
    def executor(self) -> Executor: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
