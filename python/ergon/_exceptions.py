"""How exceptions travel: as they were raised.

pickle makes an exception by calling its class with `args`. That fails, or does something else, where the class has an __init__ of its
own; and what exceptions of the interpreter keep outside of `args` and `__dict__` (the name in a NameError), and slots, are lost. Such
exceptions are put together here instead, without __init__. A class that says itself how it is pickled is believed.

What a task raises brings along what led to it as well: causes and contexts, those of the members of groups too. Each of them is a pickle
of its own: one that cannot be written or read is replaced by a RemoteError, and the exception itself arrives all the same. Functions named
in streams are at the end; what they take must not change.
"""

from __future__ import annotations

import copyreg
from typing import Any

from . import _core
from .errors import RemoteError, RemoteTraceback, unpicklable

MOST = 64  # causes and contexts that travel, and no more than
LARGE = 1 << 20  # bytes each
SMALL = 1 << 16  # bytes of the object an AttributeError is about

_FIELDS: dict[Any, tuple[str, ...]] = {
    AttributeError: ("name", "obj"),
    NameError: ("name",),
    ImportError: ("msg", "name", "path", "name_from"),
    OSError: ("errno", "strerror", "filename", "filename2", "characters_written"),
    SyntaxError: (
        *("msg", "filename", "lineno", "offset", "text", "end_lineno", "end_offset"),
        *("print_file_and_line", "_metadata"),
    ),
    UnicodeDecodeError: ("encoding", "object", "start", "end", "reason"),
    UnicodeEncodeError: ("encoding", "object", "start", "end", "reason"),
    UnicodeTranslateError: ("encoding", "object", "start", "end", "reason"),
    StopIteration: ("value",),
    SystemExit: ("code",),
}
_BY_CLASS = "__reduce_ex__", "__reduce__", "__getstate__", "__setstate__"
_HEAP_TYPE = 1 << 9
_none = object()


def _native(cls: Any) -> Any:
    """The nearest class that is written in C."""
    while cls.__flags__ & _HEAP_TYPE:
        cls = cls.__base__
    return cls


def _says_itself(cls: Any, native: Any) -> bool:
    return any(getattr(cls, name, None) is not getattr(native, name, None) for name in _BY_CLASS)


def _arguments(error: Any, native: Any) -> tuple:
    """What the class written in C makes the exception of."""
    if issubclass(native, BaseExceptionGroup):
        args = error.args
        given = len(args) == 2 and args[0] is error.message and type(args[1]) in (list, tuple)
        return args if given else (error.message, list(error.exceptions))
    return native.__reduce__(error)[1]


def _same(one: Any, other: Any) -> bool:
    return one is other or (type(one) is type(other) and type(one) in (str, int, bytes) and one == other)


def _travels(owner: Any) -> bool:
    return owner is None or _core._fits(owner, SMALL)


def _fields(error: Any, native: Any, args: tuple) -> dict:
    """What an exception made of these arguments would not have."""
    try:
        again = native(*args)
    except Exception:
        again = None
    names = [name for base in native.__mro__ for name in _FIELDS.get(base, ())]
    fields: dict[str, Any] = {}
    for name in names:
        descriptor = getattr(native, name, None)  # a class may have something else under that name
        try:
            value = descriptor.__get__(error)  # type: ignore[union-attr]
        except AttributeError:
            continue
        if _same(value, getattr(again, name, _none)):
            continue
        if name != "obj" or _travels(value):
            fields[name] = value
    made_with = getattr(again, "args", ())
    if len(made_with) != len(error.args) or not all(map(_same, made_with, error.args)):
        fields["args"] = error.args
    return fields


def _slots(error: Any) -> dict:
    values = ((name, getattr(error, name, _none)) for name in copyreg._slotnames(type(error)))  # type: ignore[attr-defined]
    return {name: value for name, value in values if value is not _none}


def reducer(error: Any) -> Any:
    """The one for this exception, or None: the class's own way is right."""
    cls = type(error)
    native = _native(cls)
    return None if _says_itself(cls, native) else _reduce


def _reduce(error: Any, protocol: int, files: int) -> tuple:
    cls = type(error)
    native = _native(cls)
    args = _arguments(error, native)
    fields, slots = _fields(error, native, args), _slots(error)
    usual = cls.__init__ is native.__init__ and cls.__new__ is native.__new__
    if usual and not fields and not slots:
        return native.__reduce__(error)
    state = dict(error.__dict__), fields, slots
    return make_exception, (cls, args), (state if any(state) else None), None, None, fill_exception


# --- what led to it ------------------------------------------------------------------------------------------------------


def _members(error: Any) -> list:
    """The exception, and those in it if it is a group."""
    found, known = [error], {id(error)}
    for one in found:
        for member in one.exceptions if isinstance(one, BaseExceptionGroup) else ():
            if id(member) not in known:
                known.add(id(member))
                found.append(member)
    return found


def _cause(error: Any) -> Any:
    """A traceback from another worker is none: it stands in the text of the next one."""
    cause = error.__cause__
    return None if type(cause) is RemoteTraceback else cause


def _linked(error: Any) -> bool:
    return _cause(error) is not None or error.__context__ is not None or error.__suppress_context__


def _written(error: Any) -> tuple[bytes, list]:
    """A pickle, and the exceptions in it."""
    try:
        data = _core.dumps(error)
        if len(data) <= LARGE:
            return data, _members(error)
        reason: Any = f"it takes {len(data)} bytes"
    except Exception as refused:
        reason = refused
    return _core.dumps(unpicklable(error, f"{type(error).__name__}: {error}", reason)), [error]


def parts(error: BaseException) -> Any:
    """What travels: the exception itself, or, with what led to it, a tuple."""
    nodes = _members(error)
    if not any(map(_linked, nodes)):
        return error
    known = {id(node): number for number, node in enumerate(nodes)}
    count = len(nodes)
    others: list[tuple] = []
    links: list[tuple] = []
    for number, node in enumerate(nodes):
        pair = []
        for other in (_cause(node), node.__context__):
            if other is not None and id(other) not in known and len(others) < MOST:
                data, inside = _written(other)
                others.append((data, len(inside)))
                for member in inside:
                    known.setdefault(id(member), len(nodes))
                    nodes.append(member)
            pair.append(-1 if other is None else known.get(id(other), -1))
        if _linked(node):
            links.append((number, *pair, node.__suppress_context__))
    return error, count, others, links


def whole(sent: Any) -> Any:
    """The exception that parts() was given."""
    if not isinstance(sent, tuple):
        return sent
    error, count, others, links = sent
    nodes: list[Any] = _numbered(error, count)
    for data, count in others:
        try:
            other = _core.loads(data)
        except Exception as reason:
            other = RemoteError("what led to it", reason)
        nodes += _numbered(other, count)
    for number, cause, context, suppress in links:
        node = nodes[number]
        if isinstance(node, BaseException):
            node.__cause__ = nodes[cause] if cause >= 0 else None
            node.__context__ = nodes[context] if context >= 0 else None
            node.__suppress_context__ = suppress
    return error


def _numbered(error: Any, count: int) -> list:
    found = _members(error)
    return found if len(found) == count else [error, *[None] * (count - 1)]


def add_traceback(error: BaseException, traceback: BaseException) -> None:
    """The traceback in the worker becomes the first cause: the one of the exception that was raised there first."""
    known = {id(error)}
    first = error
    while _cause(first) is not None:
        first = _cause(first)
        if id(first) in known:
            return
        known.add(id(first))
    suppress = first.__suppress_context__
    first.__cause__ = traceback
    first.__suppress_context__ = suppress


# --- what streams call ------------------------------------------------------------------------------------------------------


def make_exception(cls: Any, args: tuple) -> Any:
    native = _native(cls)
    made = native.__new__(cls, *args)
    native.__init__(made, *args)
    return made


def fill_exception(made: Any, state: tuple) -> None:
    attributes, fields, slots = state
    made.__dict__.update(attributes)
    native = _native(type(made))
    for name, value in fields.items():
        getattr(native, name).__set__(made, value)
    for name, value in slots.items():
        setattr(made, name, value)
