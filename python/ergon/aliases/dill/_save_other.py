"""How views, references, locks, files, capsules and arrays are saved."""

import collections
import gc
import io
import re
import sys
import types
import weakref
from pickle import PicklingError
from pickle import _Pickler as StockPickler

from ergon import _core
from ergon.pickle import pointers

from . import _create as make
from . import _types as kinds
from ._save import option, saves, tracing

# --- views and other values -----------------------------------------------------------------------------------------------------


def _viewed(view):
    return next(found for found in gc.get_referents(view) if isinstance(found, dict))


def save_dict_view(kind, method):
    @saves(kind, label="Dkvi")
    def _save_dict_view(pickler, obj):
        pickler.save_reduce(method, (_viewed(obj),), obj=obj)

    return _save_dict_view


for _mapping in (dict, collections.OrderedDict):
    for _method in (_mapping.keys, _mapping.values, _mapping.items):
        save_dict_view(type(_method(_mapping())), _method)


@saves(types.MappingProxyType, label="Mp")
def save_dictproxy(pickler, obj):
    target = _viewed(obj) if any(isinstance(found, dict) for found in gc.get_referents(obj)) else obj.copy()
    owned = any(isinstance(cls, type) and cls.__dict__ == obj for cls in _owners(target))
    pickler.save_reduce(types.MappingProxyType, (dict(target) if owned else target,), obj=obj)


def _owners(namespace):
    """The class whose namespace this is, if any."""
    qualified = namespace.get("__dict__")
    if isinstance(qualified, types.GetSetDescriptorType):
        yield qualified.__objclass__


@saves(slice, label="Sl")
def save_slice(pickler, obj):
    pickler.save_reduce(slice, (obj.start, obj.stop, obj.step), obj=obj)


@saves(type(Ellipsis), type(NotImplemented), range, label="Si")
def save_singleton(pickler, obj):
    if type(obj) is range:
        pickler.save_reduce(range, (obj.start, obj.stop, obj.step), obj=obj)
    else:
        pickler.save_reduce(make._eval_repr, (repr(obj),), obj=obj)


@saves(kinds.LockType, label="Lo")
def save_lock(pickler, obj):
    pickler.save_reduce(make._create_lock, (obj.locked(),), obj=obj)


@saves(kinds.RLockType, label="RL")
def save_rlock(pickler, obj):
    shown = repr(obj)
    count = int(re.search(r"count=(\d+)", shown)[1])
    owner = int(re.search(r"owner=(\d+)", shown)[1])
    pickler.save_reduce(make._create_rlock, (count, owner), obj=obj)


if kinds.ThreadHandleType:

    @saves(kinds.ThreadHandleType, label="Th")
    def save_thread_handle(pickler, obj):
        pickler.save_reduce(make._create_thread_handle, (obj.ident, obj.is_done()), obj=obj)


@saves(weakref.ReferenceType, label="R1")
def save_weakref(pickler, obj):
    pickler.save_reduce(make._create_weakref, (obj(),), obj=obj)


@saves(weakref.ProxyType, weakref.CallableProxyType, label="R2")
def save_weakproxy(pickler, obj):
    pickler.save_reduce(
        make._create_weakproxy, (pointers._target(obj), type(obj) is weakref.CallableProxyType), obj=obj
    )


@saves(kinds.ContextType, label="Cx")
def save_context(pickler, obj):
    if obj:
        pickler.save_reduce(make._create_context, (list(obj.items()),), obj=obj)
    else:
        pickler.save_reduce(type(obj), (), obj=obj)


@saves(set, frozenset)
def save_set(pickler, obj):
    """Sets of names in order: the same code gives the same bytes under every hash seed."""
    if len(obj) > 1 and all(type(item) is str for item in obj):
        pickler.save_reduce(type(obj), (sorted(obj),), obj=obj)
    elif type(obj) is set:
        StockPickler.save_set(pickler, obj)
    else:
        StockPickler.save_frozenset(pickler, obj)


# --- files ------------------------------------------------------------------------------------------------------------------------


def _save_file(pickler, obj, open_):
    closed = obj.closed
    position = -1 if closed or not _seekable(obj) else obj.tell()
    if not closed and obj.writable():
        obj.flush()
    fmode = option(pickler, "_fmode") or make.HANDLE_FMODE
    content = ""
    if fmode == make.FILE_FMODE and obj.name not in make._STANDARD:
        try:
            with open_(obj.name, "rb" if "b" in obj.mode else "r") as file:
                content = file.read()
        except OSError as error:
            raise PicklingError(f"the content of {obj.name!r} cannot be read: {error}") from error
        if "b" in obj.mode and not content:
            content = b""
    name = obj.name if not isinstance(obj.name, int) else "<fdopen>"
    strict = bool(option(pickler, "_strictio"))
    args = (name, obj.mode, position, closed, open_, strict, fmode, content)
    pickler.save_reduce(make._create_filehandle, args, obj=obj)


def _seekable(file):
    try:
        return file.seekable()
    except (OSError, ValueError):
        return False


@saves(io.TextIOWrapper, io.BufferedRandom, io.BufferedReader, io.BufferedWriter, io.FileIO, label="Fi")
def save_file(pickler, obj):
    _save_file(pickler, obj, open)


@saves(
    kinds.PyTextWrapperType,
    kinds.PyBufferedRandomType,
    kinds.PyBufferedReaderType,
    kinds.PyBufferedWriterType,
    label="Fi",
)
def save_pyio_file(pickler, obj):
    import _pyio

    _save_file(pickler, obj, _pyio.open)


# --- capsules ----------------------------------------------------------------------------------------------------------------------


class _Capsules:
    """PyCapsule's functions, through ctypes."""

    def __init__(self):
        from ctypes import c_char_p, c_int, c_void_p, py_object

        self._new = self._api("New", py_object, c_void_p, c_char_p, c_void_p)
        self._set_context = self._api("SetContext", c_int, py_object, c_void_p)
        self._set_destructor = self._api("SetDestructor", c_int, py_object, c_void_p)
        self._set_name = self._api("SetName", c_int, py_object, c_char_p)
        self._set_pointer = self._api("SetPointer", c_int, py_object, c_void_p)
        self.pointer = self._api("GetPointer", c_void_p, py_object, c_char_p)
        self.name = self._api("GetName", c_char_p, py_object)
        self.context = self._api("GetContext", c_void_p, py_object)
        self.destructor = self._api("GetDestructor", c_void_p, py_object)
        self._is_valid = self._api("IsValid", c_int, py_object, c_char_p)
        self.names = []  # of new capsules, which do not keep them

    @staticmethod
    def _api(name, result, *arguments):
        import ctypes

        function = ctypes.PYFUNCTYPE(result, *arguments)(("PyCapsule_" + name, ctypes.pythonapi))
        return function

    def is_valid(self, obj, name):
        return type(obj) is kinds.PyCapsuleType and bool(self._is_valid(obj, name))

    def new(self, pointer, name, context=None, destructor=None):
        self.names.append(name)
        made = self._new(pointer, name, destructor)
        if context:
            self._set_context(made, context)
        return made


capsules = _Capsules() if kinds.PyCapsuleType else None

if capsules:

    @saves(kinds.PyCapsuleType, label="Cap")
    def save_capsule(pickler, obj):
        name = capsules.name(obj)
        args = (capsules.pointer(obj, name), name, capsules.context(obj), capsules.destructor(obj))
        pickler.save_reduce(make._create_capsule, args, obj=obj)


@saves(_core.Functional, _core.Schedule)
def save_decorated(pickler, obj):
    reduced = obj._by_value()
    if isinstance(reduced, str):
        pickler.save_global(obj, reduced)
    else:
        pickler.save_reduce(*reduced, obj=obj)


# --- NumPy ----------------------------------------------------------------------------------------------------------------------------


def ndarraysubclassinstance(obj):
    """Whether it is an array of a class derived from NumPy's, which leaves out attributes of its own."""
    numpy = sys.modules.get("numpy")
    array = getattr(numpy, "ndarray", None)
    return (
        array is not None
        and isinstance(obj, array)
        and type(obj) is not array
        and type(obj).__reduce__ is array.__reduce__
    )


def numpyufunc(obj):
    return isinstance(obj, getattr(sys.modules.get("numpy"), "ufunc", ()))


def numpydtype(obj):
    return type(obj) is getattr(sys.modules.get("numpy"), "dtype", None)


def save_array_subclass(pickler, obj):
    with tracing(pickler, "Nu", type(obj)):
        function, args, state = obj.__reduce__()
        pickler.save_reduce(make._create_array, (function, args, state, dict(obj.__dict__)), obj=obj)
