from collections.abc import Callable, Container, Iterable, Mapping
from types import ModuleType
from typing import Any, Protocol

from typing_extensions import disjoint_base

from .errors import PicklingError as PicklingError
from .errors import UnpicklingError as UnpicklingError

__all__ = [
    "DEFAULT_PROTOCOL",
    "HIGHEST_PROTOCOL",
    "Pickler",
    "PicklingError",
    "Unpickler",
    "UnpicklingError",
    "by_value_modules",
    "copy",
    "digest",
    "dump",
    "dumps",
    "load",
    "loads",
    "register_pickle_by_value",
    "unregister_pickle_by_value",
]

class _Writable(Protocol):
    def write(self, data: bytes, /) -> Any: ...

class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...
    def readline(self) -> bytes: ...

HIGHEST_PROTOCOL: int
DEFAULT_PROTOCOL: int

def dumps(
    obj: Any,
    protocol: int | None = None,
    *,
    buffer_callback: Callable[[Any], Any] | None = None,
    byref: bool | None = None,
) -> bytes: ...
def dump(
    obj: Any,
    file: _Writable,
    protocol: int | None = None,
    *,
    buffer_callback: Callable[[Any], Any] | None = None,
    byref: bool | None = None,
) -> None: ...
def loads(
    data: Any,
    /,
    *,
    buffers: Iterable[Any] | None = None,
    restrict: Container[str] | None = None,
    fix_imports: bool = True,
    encoding: str = "ASCII",
    errors: str = "strict",
) -> Any: ...
def load(
    file: _Readable,
    /,
    *,
    buffers: Iterable[Any] | None = None,
    restrict: Container[str] | None = None,
    fix_imports: bool = True,
    encoding: str = "ASCII",
    errors: str = "strict",
) -> Any: ...
def copy(obj: Any, /) -> Any: ...
def digest(obj: Any, *, size: int = 32) -> bytes: ...
def register_pickle_by_value(module: ModuleType, /) -> None: ...
def unregister_pickle_by_value(module: ModuleType, /) -> None: ...
def by_value_modules() -> set[str]: ...

@disjoint_base
class Pickler:
    memo: dict[int, tuple[int, Any]]
    dispatch_table: Mapping[type, Callable[[Any], Any]]
    def __init__(
        self,
        file: _Writable,
        protocol: int | None = None,
        fix_imports: bool = True,
        *,
        buffer_callback: Callable[[Any], Any] | None = None,
        byref: bool = False,
    ) -> None: ...
    def dump(self, obj: Any, /) -> None: ...
    def clear_memo(self) -> None: ...

@disjoint_base
class Unpickler:
    memo: dict[int, Any]
    def __init__(
        self,
        file: _Readable,
        *,
        fix_imports: bool = True,
        encoding: str = "ASCII",
        errors: str = "strict",
        buffers: Iterable[Any] | None = None,
        restrict: Container[str] | None = None,
    ) -> None: ...
    def load(self) -> Any: ...
    def find_class(self, module_name: str, global_name: str, /) -> Any: ...
