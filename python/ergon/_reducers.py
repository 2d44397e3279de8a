"""How objects of the standard library that pickle refuses are written.

The C pickler looks here (REDUCERS, by exact type, then reducer_for()) when an object cannot be pickled otherwise; it
imports this module the first time that happens. A reducer takes the object, the protocol and what is to happen with
files, and returns what __reduce__ would. Functions named in streams are at the end; what they take must not change.
"""

from __future__ import annotations

import _thread
import abc
import array
import contextvars
import functools
import gc
import io
import itertools
import operator
import os
import pickle
import sys
import types
import typing
import weakref
from collections import OrderedDict
from typing import Any

from . import _weak
from ._core import _track_adopt, _track_find, _track_id, importable


def _refuse(reason: str) -> typing.NoReturn:
    raise TypeError(f"cannot pickle: {reason}")


# --- views, buffers, descriptors ------------------------------------------------------------------------------


def _view(method: Any):
    def reduce(view: Any, protocol: int, files: int) -> tuple:
        mapping = next(obj for obj in gc.get_referents(view) if isinstance(obj, dict))
        return method, (mapping,)

    return reduce


def _memoryview(view: memoryview, protocol: int, files: int) -> tuple:
    kind = _item_kind(view.format)
    if protocol < 5:
        content: Any = view.tobytes()
    elif view.c_contiguous:
        content = pickle.PickleBuffer(view)
    else:
        content = pickle.PickleBuffer(view.tobytes() if view.readonly else bytearray(view.tobytes()))
    if kind == "B" and view.ndim == 1:
        return memoryview, (content,)
    return make_memoryview, (content, kind, view.shape)


def _item_kind(kind: str) -> str:
    """A format that memoryview.cast() takes."""
    import struct

    native = "=<" if sys.byteorder == "little" else "=>!"
    last = kind[-1:]
    if kind == "@" + last or (kind[:1] in native and len(kind) == 2 and struct.calcsize(kind) == struct.calcsize(last)):
        kind = last
    if len(kind) != 1:
        _refuse(f"a view of items of the format {kind!r} can only be made by the object that it is of: send that")
    return kind


def _array(value: array.array, protocol: int, files: int) -> Any:
    if protocol < 5 or value.typecode == "u":
        return value.__reduce_ex__(protocol)
    return make_array, (value.typecode, pickle.PickleBuffer(value))


def array_of_numpy(value: Any) -> tuple | None:
    """As digest sees it: how its items lie in memory, and who may write to them, is nothing of the value. None: as it says itself."""
    import numpy

    cls = type(value)
    if cls.__reduce__ is not numpy.ndarray.__reduce__ or cls.__reduce_ex__ is not numpy.ndarray.__reduce_ex__:
        return None
    items: Any = numpy.asarray(value)
    if items.dtype.hasobject:
        return array_of_numpy, (cls, items.dtype, items.shape, tuple(items.ravel().tolist()))
    if _has_gaps(items.dtype):
        _fill(zeros := numpy.zeros(items.shape, items.dtype), items)
        items = zeros
    elif not items.flags.c_contiguous:
        items = items.copy("C")
    content = items.reshape(-1).view(numpy.uint8) if items.nbytes else b""
    return array_of_numpy, (cls, items.dtype, items.shape, pickle.PickleBuffer(content))


def _has_gaps(dtype: Any) -> bool:
    if dtype.subdtype:
        return _has_gaps(dtype.base)
    fields = [dtype.fields[name][0] for name in dtype.names or ()]
    return bool(fields) and (sum(one.itemsize for one in fields) != dtype.itemsize or any(map(_has_gaps, fields)))


def _fill(made: Any, items: Any) -> None:
    for name in items.dtype.names or ():
        _fill(made[name], items[name])
    if not items.dtype.names:
        made[...] = items


def _class_attribute(descriptor: Any, protocol: int, files: int) -> tuple:
    return class_attribute, (descriptor.__objclass__, descriptor.__name__)


def _wrapped(value: Any, protocol: int, files: int) -> tuple:
    return type(value), (value.__func__,)


def _property(value: property, protocol: int, files: int) -> tuple:
    return type(value), (value.fget, value.fset, value.fdel, value.__doc__)


def _super(value: Any, protocol: int, files: int) -> tuple:
    return super, (value.__thisclass__, value.__self__)


# --- locks ----------------------------------------------------------------------------------------------------------------


TASK = 4  # added to what is to happen with files: it is written for a task, whose process nobody else shares


def _lock(lock: Any, protocol: int, files: int) -> tuple:
    return make_lock, (lock.locked() and not files & TASK,)


def _rlock(lock: Any, protocol: int, files: int) -> tuple:
    """One held by the thread that pickles it is held as often by the thread that loads it, but free in a task."""
    if files & TASK:
        return make_rlock, (0,)
    words = repr(lock)
    count = int(words.partition("count=")[2].split()[0])
    if count and not lock._is_owned():
        _refuse("an RLock that another thread holds has no owner elsewhere: release it first")
    return make_rlock, (count,)


# --- files ---------------------------------------------------------------------------------------------------------------

CONTENT, REOPEN, RESTORE = range(3)  # dumps(files="content" | "reopen" | "restore")


def _standard(file: Any) -> str | None:
    names = "stdout", "stderr", "stdin", "__stdout__", "__stderr__"
    return next((name for name in names if getattr(sys, name) is file), None)


def _file(file: Any, protocol: int, files: int) -> tuple:
    name = _standard(file)
    if name == "stdin":
        _refuse("Cannot pickle standard input")
    if name is not None:
        return getattr, (sys, name)
    return _file_content(file, files & TASK) if files & 3 == CONTENT else _file_name(file, files & 3)


def _temporary_file(wrapper: Any, protocol: int, files: int) -> tuple:
    """The file alone: it is not for a copy to delete what is still in use here."""
    return _file(wrapper.file, protocol, files)


def _raw(file: Any) -> Any:
    return getattr(getattr(file, "buffer", file), "raw", file)


def _file_content(file: Any, task: int) -> tuple:
    """A file open for reading becomes its content in memory, at the same position; one to append to is opened again."""
    if file.closed:
        _refuse("Cannot pickle closed files")
    if getattr(file, "isatty", bool)():
        _refuse("Cannot pickle files that map to tty objects")
    raw = _raw(file)
    writes = file.writable() if task else not file.readable()
    if writes and "a" in getattr(raw, "mode", ""):
        return _file_name(file, REOPEN)  # nothing in it is its own: what is written there is added to it
    if writes and file.readable():
        _refuse(
            "a task would have a copy of a file that is open for reading and writing, and what it writes would be lost: "
            "open it there by its name, or to append"
        )
    if not file.readable():
        _refuse(
            "Cannot pickle files that are not opened for reading: "
            + str(getattr(file, "mode", ""))
            + " (files='reopen' opens it again by its name)"
        )
    if not file.seekable():
        _refuse("Cannot pickle a stream that cannot be read twice")
    position = file.tell()
    file.seek(0)
    try:
        content = file.read()
    finally:
        file.seek(position)
    return make_file, (content, position, getattr(file, "name", None))


def _file_name(file: Any, files: int) -> tuple:
    """A file becomes its name, its mode and its position; to be restored, what is in it comes along."""
    name = getattr(file, "name", None)
    if not isinstance(name, (str, bytes)):
        _refuse("this file has no name it could be opened by again")
    raw = _raw(file)
    mode, text, position, content = raw.mode, isinstance(file, io.TextIOBase), None, None
    if not file.closed:
        if file.writable():
            file.flush()
        position = file.tell() if file.seekable() else None
    if files == RESTORE:
        with open(name, "rb") as saved:
            content = saved.read()
    mode = mode.replace("b", "") + ("" if text else "b")
    how = {"encoding": file.encoding, "errors": file.errors} if text else {}
    how["buffering"] = 0 if raw is file else 1 if text and file.line_buffering else -1
    return make_named_file, (name, mode, position, how, content, type(file).__module__ == "_pyio")


def _file_handler(handler: Any, protocol: int, files: int) -> tuple:
    """A log file is opened again when something is written to it, and what is in it stays there."""
    state = dict(vars(handler), stream=None)
    if state.get("mode") == "w":
        state["mode"] = "a"
    return object.__new__, (type(handler),), state


# --- context variables, capsules ----------------------------------------------------------------------------------------


def _find_attribute(value: Any, name: str) -> tuple[str, str] | None:
    """Of which loaded module it is an attribute, and how it is called there; of the main program only if of no other."""
    modules = [(key, module) for key, module in sys.modules.copy().items() if isinstance(module, types.ModuleType)]
    modules.sort(key=lambda item: item[0] in ("__main__", "__mp_main__"))
    for key, module in modules:
        if vars(module).get(name) is value:
            return key, name
    for key, module in modules:
        for attribute, held in vars(module).copy().items():
            if held is value:
                return key, attribute
    return None


def _place_of(var: contextvars.ContextVar) -> tuple | None:
    """The module and attribute it is known by."""
    found = _find_attribute(var, var.name)
    return found or next((key[:2] for key, held in _VARIABLES.items() if held is var), None)


def _context_var(var: contextvars.ContextVar, protocol: int, files: int) -> Any:
    found = _place_of(var)
    if found is None:
        _refuse("a context variable is known by identity only: make it in a module, and refer to the module")
    module, attribute = found
    if module not in ("__main__", "__mp_main__"):
        return getattr, (sys.modules[module], attribute)
    try:
        default: tuple = (contextvars.Context().run(var.get),)
    except LookupError:
        default = ()
    return make_context_var, (module, attribute, var.name, default)


def _capsule(capsule: Any, protocol: int, files: int) -> tuple:
    """A capsule's name says by convention where it can be imported from."""
    name = repr(capsule).partition('"')[2].partition('"')[0]
    module, _, attribute = name.rpartition(".")
    if getattr(sys.modules.get(module), attribute or " ", None) is capsule:
        return getattr, (sys.modules[module], attribute)
    found = _find_attribute(capsule, attribute)
    if found is None:
        _refuse("a capsule is an address in this process, and no module has it as an attribute")
    return getattr, (sys.modules[found[0]], found[1])


# --- what runs -----------------------------------------------------------------------------------------------------------------


def _generator(generator: Any, protocol: int, files: int) -> tuple:
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


def _context(context: contextvars.Context, protocol: int, files: int) -> tuple:
    """Variables that no module has cannot be asked for elsewhere."""
    known = [(var, value) for var, value in context.items() if _place_of(var)]
    return make_context, (known,)


# These go for subclasses as well, unless those say themselves how they are pickled.
_INHERITED: list[Any] = []


def _inherited(reducer: Any) -> Any:
    _INHERITED.append(reducer)
    return reducer


_inherited(_file_handler)


@_inherited
def _idle_thread(thread: Any, protocol: int, files: int) -> tuple:
    """One that has not started is what it was made with."""
    import threading

    if thread.ident is not None:
        _refuse("a thread that was started runs in this process: start one where it is needed")
    made_with = {"_target", "_args", "_kwargs", "_name", "_daemonic"}
    hidden = vars(threading.Thread(name="-", daemon=False)).keys() - made_with
    return make_thread, (type(thread),), {key: held for key, held in vars(thread).items() if key not in hidden}


@_inherited
def _future(future: Any, protocol: int, files: int) -> tuple:
    """One that is done is its result, its exception, or that it was cancelled."""
    if not future.done():
        _refuse("a future is fulfilled in this process: wait for it, and send its result")
    hidden = "_condition", "_waiters", "_done_callbacks"
    return make_future, (type(future),), {key: held for key, held in vars(future).items() if key not in hidden}


_DIALECT = "delimiter quotechar escapechar doublequote skipinitialspace lineterminator quoting strict".split()


def _dialect(dialect: Any, protocol: int, files: int) -> tuple:
    return make_dialect, (type(dialect), {name: getattr(dialect, name) for name in _DIALECT})


def _struct(value: Any, protocol: int, files: int) -> tuple:
    return type(value), (value.format,)


def _never(reason: str):
    def reduce(value: Any, protocol: int, files: int) -> typing.NoReturn:
        _refuse(reason)

    return _inherited(reduce)


# --- typing -------------------------------------------------------------------------------------------------------------------------


def _variable(*attributes: str):
    """What is known by identity: known by an id elsewhere, so that it is made there only once."""

    def reduce(value: Any, protocol: int, files: int) -> Any:
        if importable(value):
            return value.__reduce__()
        args = tuple(getattr(value, attribute) for attribute in attributes)
        return make_variable, (type(value), args, value.__module__, _track_id(value))

    return reduce


# --- functools, itertools -----------------------------------------------------------------------------------------


def _held(value: Any) -> list:
    return [held for held in gc.get_referents(value) if held is not type(value)]


def _key_wrapper(key: Any, protocol: int, files: int) -> tuple:
    compare, *rest = _held(key)
    return (type(key).__call__, (functools.cmp_to_key(compare), *rest)) if rest else (functools.cmp_to_key, (compare,))


_untold = _never(
    f"CPython {sys.version_info[0]}.{sys.version_info[1]} does not tell how far an iterator of itertools got: "
    "send what it goes through, or a list of what is left"
)


def _pairwise(pairs: Any, protocol: int, files: int) -> tuple:
    """The iterator, and after the first step the item that comes again."""
    iterator, *old = _held(pairs)
    if sys.version_info >= (3, 13):
        old.pop()  # the tuple that is used again and again
    if old and sys.version_info >= (3, 14):
        _untold(pairs, protocol, files)
    return itertools.pairwise, (itertools.chain(old[:1], iterator) if old else iterator,)


# --- what CPython 3.14 does not write any more ---------------------------------------------------------------------


def _partialmethod(method: Any, protocol: int, files: int) -> tuple:
    """Its class wants arguments to be made with, and does not say so."""
    if method.keywords:
        return functools.partial(functools.partialmethod, method.func, *method.args, **method.keywords), ()
    return functools.partialmethod, (method.func, *method.args)


def _count(count: Any, protocol: int, files: int) -> tuple:
    """How far it got is in its repr() alone."""
    import ast

    try:
        numbers = ast.literal_eval(repr(count).removeprefix("count") + ",")[0]
    except (ValueError, SyntaxError):
        _refuse("only of numbers does an itertools.count say how far it got")
    return itertools.count, numbers if isinstance(numbers, tuple) else (numbers,)


def _repeat(repeat: Any, protocol: int, files: int) -> tuple:
    value = gc.get_referents(repeat)[-1]
    left = operator.length_hint(repeat, -1)  # without end there is no hint
    return itertools.repeat, (value,) if left < 0 else (value, left)


def _late_reducers() -> dict[type, Any]:
    if sys.version_info < (3, 14):
        return {}
    known = {
        functools.partialmethod: _partialmethod,
        itertools.count: _count,
        itertools.repeat: _repeat,
    }
    others = (cls for cls in vars(itertools).values() if isinstance(cls, type) and cls is not itertools.pairwise)
    return {**dict.fromkeys(others, _untold), **known}


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
    **_weak.REDUCERS,
    _thread.LockType: _lock,
    _thread.RLock: _rlock,
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
    typing.NewType: _variable("__name__", "__supertype__"),
    typing.ParamSpec: _variable("__name__"),
    typing.TypeVarTuple: _variable("__name__"),
    functools.cmp_to_key(max).__class__: _key_wrapper,
    itertools.pairwise: _pairwise,
    **_late_reducers(),
}


# Types of modules that need not be there: known by name.
_NAMED: dict[str, Any] = {
    "builtins.PyCapsule": _capsule,
    "_pyio.TextIOWrapper": _file,
    "_pyio.BufferedReader": _file,
    "_pyio.BufferedWriter": _file,
    "_pyio.BufferedRandom": _file,
    "_pyio.FileIO": _file,
    "tempfile._TemporaryFileWrapper": _temporary_file,
    "tempfile._TemporaryFileCloser": _never("it deletes a file of this process when it goes"),
    "_thread._local": _never("what a thread keeps for itself belongs to that thread"),
    "threading.Thread": _idle_thread,
    "concurrent.futures._base.Future": _future,
    "logging.FileHandler": _file_handler,
    "ctypes.CDLL": _never("a library is loaded into this process: load it where it is needed"),
    "_csv.Dialect": _dialect,
    "_csv.reader": _never("a reader goes through a file of this process: send the rows, or the file"),
    "_csv.writer": _never("a writer writes to a file of this process: make one where it is needed"),
    "_struct.Struct": _struct,
    "_queue.SimpleQueue": _never("nobody can look into a SimpleQueue: queue.Queue travels, with what is in it"),
    "_hashlib.HASH": _never("what a hash has seen cannot be read out of it: send its digest, or the data"),
    "_hashlib.HMAC": _never("what a hash has seen cannot be read out of it: send its digest, or the data"),
    "zlib.Compress": _never("how far a compressor got cannot be read out of it: send the data"),
    "zlib.Decompress": _never("how far a decompressor got cannot be read out of it: send the data"),
    "posix.ScandirIterator": _never("it reads a folder of this process: send the names"),
    "multiprocessing.connection._ConnectionBase": _never(
        "a connection is a descriptor of this process: use a queue of a multiprocessing.Manager, or connect again where it is needed"
    ),
    "socket.socket": _never("a socket is a connection of this process: connect again where it is needed"),
    "sqlite3.Connection": _never("a database handle belongs to this process: send the file's name, and open it there"),
    "sqlite3.Cursor": _never("a database cursor belongs to this process"),
    "ssl.SSLContext": _never("an SSL context holds keys of this process: make one where it is needed"),
    "subprocess.Popen": _never("a child process belongs to its parent"),
    "select.epoll": _never("an epoll object belongs to this process"),
    "mmap.mmap": _never("a memory map belongs to this process: send the file's name, and map it there"),
    "re.Match": _never("a match refers to the text it was found in: send its groups"),
}


# Types that instances have and nothing refers to.
_NAMELESS: dict[str, type] = {
    cls.__name__: cls
    for cls in (
        *map(type, ({}.keys(), {}.values(), {}.items(), OrderedDict().keys(), OrderedDict().values(), OrderedDict().items())),
        *map(type, (iter([]), iter(()), iter(""), iter(b""), iter(bytearray()), iter(set()), iter({}), iter({}.values()),
                    iter({}.items()), iter(range(0)), iter(range(1 << 70)), reversed([]), reversed({}), iter(int, 0), iter(OrderedDict()))),
        type(memoryview(b"")), type(weakref.ref(type)), type(functools.cmp_to_key(max)), type(functools.lru_cache(abs)),
        type((lambda: (yield))()), type(contextvars.Token), type("".__add__), type(gc.collect),
    )
    if getattr(sys.modules.get(cls.__module__), cls.__qualname__, None) is not cls
}  # fmt: skip


def nameless(cls: type) -> tuple | None:
    meta: Any = type(cls)
    if cls.__module__ == "_ctypes" or any(base.__module__ == "_ctypes" for base in meta.__mro__):
        from . import _ctypes_classes

        return _ctypes_classes.reduction(cls)
    return (nameless_type, (cls.__name__,)) if _NAMELESS.get(cls.__name__) is cls else None


def _attribute_of_sys(file: Any, protocol: int, files: int) -> tuple:
    return getattr, (sys, _standard(file))


def reducer_for(value: Any) -> Any:
    """Of an object whose type is not among REDUCERS: of exactly its type, or one that goes for subclasses as well."""
    if value is sys.stdout or value is sys.stderr:  # whatever a notebook or a test runner put there
        return _attribute_of_sys
    cls = type(value)
    if issubclass(cls, BaseException):
        from . import _exceptions

        return _exceptions.reducer(value)
    found = _NAMED.get(f"{cls.__module__}.{cls.__qualname__}")
    if found is not None:
        return found
    for base in cls.__mro__[1:]:
        reducer = _NAMED.get(f"{base.__module__}.{base.__qualname__}")
        if reducer in _INHERITED:
            return None if _says_itself(cls, base) else reducer
    return None


def _says_itself(cls: type, base: type) -> bool:
    names = "__reduce_ex__", "__reduce__", "__getstate__"
    return any(getattr(cls, name, None) is not getattr(base, name, None) for name in names)


# --- what streams call ------------------------------------------------------------------------------------------------------------------


def make_memoryview(content: Any, format: Any, shape: tuple) -> memoryview:
    return memoryview(content).cast("B").cast(format, shape)


def make_array(typecode: str, content: Any) -> array.array:
    made = array.array(typecode)
    made.frombytes(memoryview(content).cast("B"))
    return made


def class_attribute(cls: type, name: str) -> Any:
    return cls.__dict__[name]


def make_thread(cls: Any) -> Any:
    import threading

    made = cls.__new__(cls)
    threading.Thread.__init__(made, name="-")
    return made


def make_future(cls: Any) -> Any:
    from concurrent.futures import Future

    made = cls.__new__(cls)
    Future.__init__(made)
    return made


def make_dialect(cls: type, values: dict) -> Any:
    return cls(**values)


# Streams of earlier versions name them here.
dead_ref, dead_proxy = _weak.dead_ref, _weak.dead_proxy


def nameless_type(name: str) -> type:
    return _NAMELESS[name]


def make_lock(locked: bool) -> Any:
    made = _thread.allocate_lock()
    if locked:
        made.acquire()
    return made


def make_rlock(count: int) -> Any:
    made = _thread.RLock()
    for _ in range(count):
        made.acquire()
    return made


def make_variable(kind: type, args: tuple, module: str, name: bytes) -> Any:
    made = _track_find(name)
    if made is None:
        made = kind(*args)
        made.__module__ = module
        _track_adopt(made, name)
    return made


_VARIABLES: dict[tuple, contextvars.ContextVar] = {}  # of other programs' __main__


def make_context_var(module: str, attribute: str, name: str, default: tuple) -> contextvars.ContextVar:
    here = getattr(sys.modules.get(module), attribute, None)
    if isinstance(here, contextvars.ContextVar) and here.name == name:
        return here
    key = module, attribute, name
    if key not in _VARIABLES:
        _VARIABLES[key] = contextvars.ContextVar(name, default=default[0]) if default else contextvars.ContextVar(name)
    return _VARIABLES[key]


def _holds(name: Any, content: bytes) -> bool:
    try:
        with open(name, "rb") as file:
            return file.read() == content
    except OSError:
        return False


def make_named_file(name: Any, mode: str, position: int | None, how: dict, content: Any, pure: bool) -> Any:
    """Opened again as it was; one opened to be written keeps what is in it."""
    if content is not None and not _holds(name, content):
        with open(name, "wb") as file:
            file.write(content)
    kind = mode.replace("x", "w")
    if "w" in kind and os.path.exists(name):
        kind = kind.replace("w", "r").replace("+", "") + "+"
    opener = __import__("_pyio").open if pure else open
    made = opener(name, kind, **how)
    if position is None:
        made.close()
    elif made.seekable() and "a" not in kind:
        made.seek(min(position, os.path.getsize(name)) if "b" in kind else position)
    return made


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
