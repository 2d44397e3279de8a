from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, overload

__all__ = ["configure", "functional", "schedule"]

_F = TypeVar("_F")

@overload
def schedule(function: None = None, /) -> Callable[[_F], _F]: ...
@overload
def schedule(function: _F, /) -> _F: ...
@overload
def functional(
    function: None = None,
    /,
    *,
    retries: int | None = None,
    timeout: float | None = None,
    resources: Mapping[str, Any] | None = None,
) -> Callable[[_F], _F]: ...
@overload
def functional(
    function: _F,
    /,
    *names: str,
    retries: int | None = None,
    timeout: float | None = None,
    resources: Mapping[str, Any] | None = None,
) -> _F: ...
def configure(workers: Iterable[str | Mapping[str, Any]] | None = None, ssh_config: str | None = None) -> None: ...
def stats() -> dict[str, int]: ...
