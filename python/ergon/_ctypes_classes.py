"""How the types of ctypes travel that nobody can import.

Arrays, pointers and function types are made from other types, and made again; a structure, union or other class of a program is sent
by value, as classes are: with an id, so that it is made once there. Its fields follow when it is there, because they may refer
to it. Functions named in streams are at the end; what they take must not change.
"""

from __future__ import annotations

import ctypes
import operator
import types
import weakref
from typing import Any

from ._core import _track_adopt, _track_find, _track_id

_BASES: tuple[Any, ...] = (
    ctypes.Structure,
    ctypes.Union,
    ctypes.Array,
    ctypes._Pointer,
    ctypes._SimpleCData,
    ctypes._CFuncPtr,  # type: ignore[attr-defined]
)
_WITH_THE_CLASS = "_type_", "_length_", "_flags_", "_restype_", "_argtypes_"  # it cannot be made without
_MADE_WITH_IT = "__dict__", "__weakref__", "__ctype_be__", "__ctype_le__"
_BEFORE_FIELDS = "_pack_", "_align_", "_layout_", "_anonymous_"


def reduction(cls: Any) -> tuple | None:
    """What __reduce__ would say, or None."""
    if issubclass(cls, type):
        return next(((type, (base,)) for base in _BASES if type(base) is cls), None)
    return _made_from_others(cls) or _by_value(cls)


def _made_from_others(cls: Any) -> tuple | None:
    own = vars(cls)
    if cls.__bases__ == (ctypes.Array,) and own.get("_type_", int) * own.get("_length_", 0) is cls:
        return operator.mul, (cls._type_, cls._length_)
    if cls.__bases__ == (ctypes._Pointer,) and "_type_" in own and ctypes.POINTER(cls._type_) is cls:
        return ctypes.POINTER, (cls._type_,)
    if cls.__module__ == "ctypes" and issubclass(cls, _BASES[-1]) and "_restype_" in own:
        return make_function_type, (cls._flags_, cls._restype_, *cls._argtypes_)
    native = getattr(ctypes, cls.__name__[:-3], None)  # c_int_be: one whose bytes are in the other order
    for order in ("__ctype_be__", "__ctype_le__"):
        if getattr(native, order, None) is cls:
            return getattr, (native, order)
    return None


def _by_value(cls: Any) -> tuple:
    first, later = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}, {}
    for name, value in vars(cls).items():
        if name in _WITH_THE_CLASS:
            first[name] = value
        elif name not in first and name not in _MADE_WITH_IT and type(value).__name__ != "CField":
            later[name] = value
    own = None if any(type(base) is type(cls) for base in cls.__bases__) else type(cls)
    args = cls.__name__, cls.__bases__, own, first, _track_id(cls), _layout(cls)
    return make_class, args, later, None, None, fill_class


def _layout(cls: Any) -> str:
    """What tells structures apart whose names, and those of their fields, are the same."""
    fields = [(name, kind.__name__, ctypes.sizeof(kind), *bits) for name, kind, *bits in vars(cls).get("_fields_", ())]
    packed = f" packed {cls._pack_}" if hasattr(cls, "_pack_") else ""
    return f"{fields} {ctypes.sizeof(cls) if fields else ''}{packed}"


_empty: weakref.WeakSet = weakref.WeakSet()  # classes that were made and not filled yet


# --- what streams call ------------------------------------------------------------------------------------------------


def make_function_type(flags: int, result: Any, *arguments: Any) -> Any:
    if flags & 4:  # functions of Python's own interface
        return ctypes.PYFUNCTYPE(result, *arguments)
    return ctypes.CFUNCTYPE(result, *arguments, use_errno=bool(flags & 8))


def make_class(name: str, bases: tuple, metaclass: Any, namespace: dict, known_as: bytes, layout: str) -> Any:
    made = _track_find(known_as)
    if made is not None and made not in _empty and _layout(made) != layout:  # another program's of the same name
        known_as += layout.encode()
        made = _track_find(known_as)
    if made is None:
        keywords = {} if metaclass is None else {"metaclass": metaclass}
        made = types.new_class(name, bases, keywords, lambda space: space.update(namespace))
        _track_adopt(made, known_as)
        _empty.add(made)
    return made


def fill_class(cls: Any, attributes: dict) -> None:
    if cls not in _empty:
        return  # it was there already
    _empty.discard(cls)
    order = [name for name in (*_BEFORE_FIELDS, "_fields_") if name in attributes]
    for name in (*order, *(name for name in attributes if name not in order)):
        setattr(cls, name, attributes[name])
