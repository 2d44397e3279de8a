"""How objects of the standard library that pickle refuses are written.

The C pickler looks here (REDUCERS, by exact type) when an object cannot be pickled otherwise; it imports this
module the first time that happens. A reducer takes the object and the protocol and returns what __reduce__ would.
Functions named in streams are at the end; what they take must not change.
"""

from __future__ import annotations

import abc
import array
import contextvars
import gc
import io
import pickle
import sys
import types
import typing
import weakref
from collections import OrderedDict
from typing import Any

from ._core import importable


def _refuse(reason: str) -> typing.NoReturn:
    raise TypeError(f"cannot pickle: {reason}")


# --- views, buffers, descriptors ------------------------------------------------------------------------------


def _view(method: Any):
    def reduce(view: Any, protocol: int) -> tuple:
        mapping = next(obj for obj in gc.get_referents(view) if isinstance(obj, dict))
        return method, (mapping,)

    return reduce


def _memoryview(view: memoryview, protocol: int) -> tuple:
    if not view.contiguous:
        view = memoryview(view.tobytes()).cast("B")
    content = pickle.PickleBuffer(view) if protocol >= 5 else view.tobytes()
    if view.format == "B" and view.ndim == 1:
        return memoryview, (content,)
    return make_memoryview, (content, view.format, view.shape)


def _array(value: array.array, protocol: int) -> Any:
    if protocol < 5 or value.typecode == "u":
        return value.__reduce_ex__(protocol)
    return make_array, (value.typecode, pickle.PickleBuffer(value))


def _class_attribute(descriptor: Any, protocol: int) -> tuple:
    return class_attribute, (descriptor.__objclass__, descriptor.__name__)


def _wrapped(value: Any, protocol: int) -> tuple:
    return type(value), (value.__func__,)


def _property(value: property, protocol: int) -> tuple:
    return type(value), (value.fget, value.fset, value.fdel, value.__doc__)


def _super(value: Any, protocol: int) -> tuple:
    return super, (value.__thisclass__, value.__self__)


# --- references ---------------------------------------------------------------------------------------------------


def _ref(ref: Any, protocol: int) -> tuple:
    target = ref()
    return (dead_ref, ()) if target is None else (weakref.ref, (target,))


def _proxy(proxy: Any, protocol: int) -> tuple:
    # A proxy hides its target: a bound method of it does not.
    try:
        bound = proxy.__repr__
        # Of a class it is the function of its instances.
        target = bound.__self__ if hasattr(bound, "__self__") else proxy.mro.__self__
    except ReferenceError:
        return dead_proxy, ()
    return weakref.proxy, (target,)


def _weak_set(value: Any, protocol: int) -> tuple:
    return type(value), (list(value),)


def _weak_dict(value: Any, protocol: int) -> tuple:
    return type(value), (dict(value.items()),)


# --- files ---------------------------------------------------------------------------------------------------------------


def _standard(file: Any) -> str | None:
    return next((name for name in ("stdout", "stderr", "stdin") if getattr(sys, name) is file), None)


def _file(file: Any, protocol: int) -> tuple:
    """A file open for reading becomes its content in memory, at the same position."""
    name = _standard(file)
    if name == "stdin":
        _refuse("Cannot pickle standard input")
    if name is not None:
        return getattr, (sys, name)
    if file.closed:
        _refuse("Cannot pickle closed files")
    if getattr(file, "isatty", bool)():
        _refuse("Cannot pickle files that map to tty objects")
    if not file.readable():
        _refuse("Cannot pickle files that are not opened for reading: " + str(getattr(file, "mode", "")))
    if not file.seekable():
        _refuse("Cannot pickle a stream that cannot be read twice")
    position = file.tell()
    file.seek(0)
    try:
        content = file.read()
    finally:
        file.seek(position)
    return make_file, (content, position, getattr(file, "name", None))


# --- what runs -----------------------------------------------------------------------------------------------------------------


def _generator(generator: Any, protocol: int) -> tuple:
    """A generator that has not started is its code and its arguments."""
    import inspect

    if inspect.getgeneratorstate(generator) != inspect.GEN_CREATED:
        _refuse("a generator that has started keeps its place in a frame, which cannot travel")
    frame, code = generator.gi_frame, generator.gi_code
    values = dict(frame.f_locals)
    cells = tuple(types.CellType(values[name]) if name in values else types.CellType() for name in code.co_freevars)
    function = types.FunctionType(code, frame.f_globals, generator.__name__, None, cells or None)
    function.__qualname__ = generator.__qualname__
    names = code.co_varnames
    plain, only = code.co_argcount, code.co_kwonlyargcount
    args = [values[name] for name in names[:plain]]
    kwargs = {name: values[name] for name in names[plain : plain + only]}
    rest = plain + only
    if code.co_flags & inspect.CO_VARARGS:
        args += values[names[rest]]
        rest += 1
    if code.co_flags & inspect.CO_VARKEYWORDS:
        kwargs.update(values[names[rest]])
    return make_generator, (function, tuple(args), kwargs)


def _context(context: contextvars.Context, protocol: int) -> tuple:
    return make_context, (list(context.items()),)


def _context_var(var: contextvars.ContextVar, protocol: int) -> Any:
    _refuse("a context variable is known by identity only: make it in a module, and refer to the module")


def _never(reason: str):
    def reduce(value: Any, protocol: int) -> typing.NoReturn:
        _refuse(reason)

    return reduce


# --- typing -------------------------------------------------------------------------------------------------------------------------


def _new_type(value: Any, protocol: int) -> Any:
    return value.__reduce__() if importable(value) else (typing.NewType, (value.__name__, value.__supertype__))


def _named_variable(value: Any, protocol: int) -> Any:
    return value.__reduce__() if importable(value) else (type(value), (value.__name__,))


REDUCERS: dict[type, Any] = {
    type({}.keys()): _view(dict.keys),
    type({}.values()): _view(dict.values),
    type({}.items()): _view(dict.items),
    type(OrderedDict().keys()): _view(OrderedDict.keys),
    type(OrderedDict().values()): _view(OrderedDict.values),
    type(OrderedDict().items()): _view(OrderedDict.items),
    memoryview: _memoryview,
    array.array: _array,
    types.GetSetDescriptorType: _class_attribute,
    types.MemberDescriptorType: _class_attribute,
    types.ClassMethodDescriptorType: _class_attribute,
    abc.abstractclassmethod: _wrapped,
    abc.abstractstaticmethod: _wrapped,
    abc.abstractproperty: _property,
    super: _super,
    weakref.ReferenceType: _ref,
    weakref.ProxyType: _proxy,
    weakref.CallableProxyType: _proxy,
    weakref.WeakSet: _weak_set,
    weakref.WeakKeyDictionary: _weak_dict,
    weakref.WeakValueDictionary: _weak_dict,
    io.TextIOWrapper: _file,
    io.BufferedReader: _file,
    io.BufferedRandom: _file,
    io.BufferedWriter: _file,
    io.FileIO: _file,
    types.GeneratorType: _generator,
    contextvars.Context: _context,
    contextvars.ContextVar: _context_var,
    types.CoroutineType: _never("a coroutine is bound to the event loop that runs it"),
    types.AsyncGeneratorType: _never("an asynchronous generator is bound to the event loop that runs it"),
    types.FrameType: _never("a frame belongs to the thread that runs it"),
    types.TracebackType: _never("a traceback holds frames, which belong to the thread that ran them"),
    typing.NewType: _new_type,
    typing.ParamSpec: _named_variable,
    typing.TypeVarTuple: _named_variable,
}


def _refuse_named(module: str, name: str, reason: str) -> None:
    """A type of a module that may not be there, and need not be imported for this."""
    found = getattr(sys.modules.get(module), name, None)
    if isinstance(found, type):
        REDUCERS[found] = _never(reason)


_LOCK = "a lock guards memory of this process: make one where it is needed"
_refuse_named("_thread", "LockType", _LOCK)
_refuse_named("_thread", "RLock", _LOCK)
_refuse_named("socket", "socket", "a socket is a connection of this process: connect again where it is needed")
_refuse_named(
    "sqlite3", "Connection", "a database handle belongs to this process: send the file's name, and open it there"
)
_refuse_named("sqlite3", "Cursor", "a database cursor belongs to this process")
_refuse_named("ssl", "SSLContext", "an SSL context holds keys of this process: make one where it is needed")


# --- what streams call ------------------------------------------------------------------------------------------------------------------


def make_memoryview(content: Any, format: Any, shape: tuple) -> memoryview:
    return memoryview(content).cast("B").cast(format, shape)


def make_array(typecode: str, content: Any) -> array.array:
    made = array.array(typecode)
    made.frombytes(memoryview(content).cast("B"))
    return made


def class_attribute(cls: type, name: str) -> Any:
    return cls.__dict__[name]


class _Gone:
    __slots__ = ("__weakref__",)

    def __call__(self) -> None: ...


def dead_ref() -> Any:
    return weakref.ref(_Gone())


def dead_proxy() -> Any:
    return weakref.proxy(_Gone())


def make_file(content: Any, position: int, name: Any) -> Any:
    made = io.StringIO(content) if isinstance(content, str) else io.BytesIO(content)
    if name is not None:
        made.name = name  # type: ignore[attr-defined]
    made.seek(position)
    return made


def make_generator(function: Any, args: tuple, kwargs: dict) -> Any:
    return function(*args, **kwargs)


def make_context(items: list) -> contextvars.Context:
    context = contextvars.Context()
    for var, value in items:
        context.run(var.set, value)
    return context
