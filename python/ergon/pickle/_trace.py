"""What dumps() would write by value, as a tree: what a pickle consists of, and what makes it big."""

from __future__ import annotations

import io
import sys
import types
from typing import Any, TextIO

from .. import _core

__all__ = ["trace"]


class _Noter(_core.Pickler):
    """Notes every object that is neither data nor a plain container, with the sizes of what it contributes."""

    def __init__(self, file: Any, out: TextIO) -> None:
        super().__init__(file)
        self._out = out
        self._seen: set[int] = set()

    def reducer_override(self, obj: Any) -> Any:
        if id(obj) not in self._seen:
            self._seen.add(id(obj))
            how = "by reference" if _core.importable(obj) else f"{len(_core.dumps(obj))} bytes by value"
            if isinstance(obj, (type, types.FunctionType, types.BuiltinFunctionType)):
                print(f"{type(obj).__name__} {obj.__module__}.{obj.__qualname__}: {how}", file=self._out)
            elif isinstance(obj, types.ModuleType):
                print(f"module {obj.__name__}: {how}", file=self._out)
            elif not isinstance(obj, (types.CodeType, types.CellType)):
                print(f"{type(obj).__module__}.{type(obj).__qualname__} object: {how}", file=self._out)
        return NotImplemented


def trace(obj: Any, file: TextIO | None = None) -> int:
    """Prints each function, class, module and instance that a pickle of `obj` holds, in the order they are written.

    `file` is an open text file, standard error if not given. Returns the size of the pickle in bytes. PicklingError
    as dumps() raises it, after what comes before was printed.
    """
    stream = io.BytesIO()
    _Noter(stream, sys.stderr if file is None else file).dump(obj)
    return len(stream.getvalue())
