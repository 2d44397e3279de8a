from collections.abc import Callable, Container, Iterable, Mapping
from types import ModuleType
from typing import Any, Protocol

from typing_extensions import disjoint_base

from ..errors import PicklingError as PicklingError
from ..errors import UnpicklingError as UnpicklingError
from ._trace import trace as trace
from .detect import baditems as baditems
from .detect import badobjects as badobjects
from .detect import badtypes as badtypes
from .detect import errors as errors
from .detect import globalvars as globalvars
from .pointers import children as children
from .pointers import parent as parent
from .pointers import parents as parents
from .session import dump_module as dump_module
from .session import load_module as load_module
from .session import load_module_asdict as load_module_asdict
from .source import getsource as getsource
from .source import importable as importable

__all__ = [
    "DEFAULT_PROTOCOL",
    "HIGHEST_PROTOCOL",
    "Pickler",
    "PicklingError",
    "Unpickler",
    "UnpicklingError",
    "baditems",
    "badobjects",
    "badtypes",
    "by_value_modules",
    "children",
    "copy",
    "digest",
    "dump",
    "dump_module",
    "dumps",
    "errors",
    "getsource",
    "globalvars",
    "importable",
    "load",
    "load_module",
    "load_module_asdict",
    "loads",
    "parent",
    "parents",
    "pickles",
    "register_pickle_by_value",
    "trace",
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
    files: str | None = None,
) -> bytes: ...
def dump(
    obj: Any,
    file: _Writable,
    protocol: int | None = None,
    *,
    buffer_callback: Callable[[Any], Any] | None = None,
    byref: bool | None = None,
    files: str | None = None,
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
def pickles(obj: Any, exact: bool = False, safe: bool = True) -> bool: ...

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
