"""How session.py's states are written and read: a header, and a dict of what the module has.

Functions of the module are saved without their globals: when loaded they have those of the module they go into.
"""

from __future__ import annotations

import sys
import types
from typing import Any

from .. import _core
from ..errors import UnpicklingError

FORMAT = "ergon session 1"
_LEFT_OUT = ("__builtins__", "__loader__", "__spec__", "__cached__")


class _Space:
    """Stands for the module's namespace in a stream."""


class _Saver(_core.Pickler):
    def __init__(self, file: Any, saved: types.ModuleType, main: types.ModuleType, **kwds: Any) -> None:
        super().__init__(file, **kwds)
        self._modules = (saved, main)

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is types.FunctionType and obj.__globals__ is vars(self._modules[1]):
            state = {
                "defaults": obj.__defaults__,
                "kwdefaults": obj.__kwdefaults__,
                "qualname": obj.__qualname__,
                "module": obj.__module__,
                "annotations": obj.__annotations__,
                "doc": obj.__doc__,
                "attributes": obj.__dict__,
            }
            return function, (obj.__code__, obj.__name__, obj.__closure__), state, None, None, set_function
        if kind is types.CellType:
            try:
                contents = obj.cell_contents
            except ValueError:
                return cell, ()
            return cell, (), contents, None, None, set_cell
        if kind is types.ModuleType and obj in self._modules:
            return module, ()
        if kind is _Space:
            return namespace, ()
        return NotImplemented


class _Loader(_core.Unpickler):
    def __init__(self, file: Any, target: types.ModuleType, **kwds: Any) -> None:
        super().__init__(file, **kwds)
        self._target = target

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if module_name == __name__:
            target = self._target
            ours = {
                "function": lambda code, name, closure: types.FunctionType(code, vars(target), name, None, closure),
                "module": lambda: target,
                "namespace": lambda: vars(target),
            }
            if global_name in ours:
                return ours[global_name]
        return super().find_class(module_name, global_name)


def save(file: Any, saved: types.ModuleType, main: types.ModuleType, **kwds: Any) -> None:
    """Writes the state `saved` of the module `main`."""
    _core.dump((FORMAT, main.__name__, sys.modules.get(main.__name__) is not main), file)
    content = {
        key: _Space() if value is vars(saved) or value is vars(main) else value
        for key, value in vars(saved).items()
        if key not in _LEFT_OUT
    }
    by_value = main.__name__ not in ("__main__", *_core.by_value_modules()) and main.__name__ in sys.modules
    if by_value:
        _core.register_pickle_by_value(main)
    try:
        _Saver(file, saved, main, **kwds).dump(content)
    finally:
        if by_value:
            _core.unregister_pickle_by_value(main)


def _header(file: Any) -> tuple[str, bool]:
    header = _core.load(file, restrict=())
    if not isinstance(header, tuple) or len(header) != 3 or header[0] != FORMAT:
        raise UnpicklingError("this is not a file that dump_module() wrote")
    return header[1], header[2]


def identify(file: Any) -> tuple[str, bool]:
    """(name of the module, whether it has to be made); reads nothing away."""
    at = file.tell()
    try:
        return _header(file)
    finally:
        file.seek(at)


def load(file: Any, target: types.ModuleType, **kwds: Any) -> None:
    """Puts the state into the module."""
    _header(file)
    vars(target).update(_Loader(file, target, **kwds).load())


# --- what streams name --------------------------------------------------------------------------------------------------


def _outside(*args: Any) -> Any:
    raise UnpicklingError("the state of a module is loaded with load_module()")


function = module = namespace = _outside


def _named(name: str) -> Any:
    def stand_in(*args: Any) -> Any:
        _outside()

    stand_in.__name__ = stand_in.__qualname__ = name
    return stand_in


function, module, namespace = _named("function"), _named("module"), _named("namespace")


def cell() -> types.CellType:
    return types.CellType()


def set_cell(made: types.CellType, contents: Any) -> None:
    made.cell_contents = contents


def set_function(made: types.FunctionType, state: dict[str, Any]) -> None:
    made.__defaults__, made.__kwdefaults__ = state["defaults"], state["kwdefaults"]
    made.__qualname__, made.__module__ = state["qualname"], state["module"]
    made.__annotations__, made.__doc__ = state["annotations"], state["doc"]
    made.__dict__.update(state["attributes"])
