from collections.abc import Callable, Generator, Iterable
from typing import Protocol, TypeVar

__all__ = ["make", "track"]

_T = TypeVar("_T")

REDRAW: float
WINDOW: float
LINE_EVERY: float
LINE_SHARE: float
LINE_LEAST: float

class _Display(Protocol):
    def update(self, done: int) -> None: ...
    def close(self, ok: bool = True) -> None: ...

def make(
    progress: bool | str | Callable[[int, int | None], object] | None,
    total: int | None = None,
    label: str | None = None,
) -> _Display: ...
def track(
    iterable: Iterable[_T],
    progress: bool | str | Callable[[int, int | None], object] | None = True,
    total: int | None = None,
) -> Generator[_T]: ...
