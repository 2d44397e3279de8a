"""What streams call while they are loaded, in the names, order and number of arguments that dill's streams have used.

All of it is found under `dill._dill`. What a function here takes must not change: streams outlive programs.
"""

import builtins
import io
import marshal
import os
import sys
import tempfile
import threading
import types
import typing
import warnings
import weakref
from collections import namedtuple
from pickle import PickleError, PicklingError, UnpicklingError

from ._types import CodeType, FunctionType, RLockType, _reverse_typemap

HANDLE_FMODE = 0  # only the handle: open the same file again
CONTENTS_FMODE = 1  # the file as it is when loaded, at the position it was
FILE_FMODE = 2  # the content too: the file is written anew


class PickleWarning(Warning, PickleError):
    """What dill warns of."""


class PicklingWarning(PickleWarning, PicklingError):
    """Something was pickled that may not load, or not as it was."""


class UnpicklingWarning(PickleWarning, UnpicklingError):
    """Something was loaded that may not be what it was."""


class Sentinel:
    """A name without a value; pickled as a reference to where it stands."""

    def __init__(self, name, module_name=None):
        self.__qualname__ = self.__name__ = name
        self.__module__ = module_name or __name__

    def __repr__(self):
        return f"{self.__module__}.{self.__name__}"

    def __reduce__(self):
        return self.__name__


Tuple = vars(typing)["Tuple"]  # not tuple: it prints and compares differently
_CELL_REF = None
_CELL_EMPTY = Sentinel("_CELL_EMPTY", "dill._dill")
_setattr = setattr
_delattr = delattr


# --- code and functions -----------------------------------------------------------------------------------------------

_EARLY = "stacksize flags code consts names varnames filename name"
_FIRST = "argcount posonlyargcount kwonlyargcount nlocals " + _EARLY
_LAST = "freevars cellvars"
# (version, the attribute that tells it, the parameters of its code type), in the order in which they are tried.
ALL_CODE_PARAMS = [
    (
        (3, 11, "a"),
        "co_endlinetable",
        f"{_FIRST} qualname firstlineno linetable endlinetable columntable exceptiontable {_LAST}",
    ),
    ((3, 11), "co_exceptiontable", f"{_FIRST} qualname firstlineno linetable exceptiontable {_LAST}"),
    ((3, 11, "p"), "co_qualname", f"{_FIRST} qualname firstlineno linetable {_LAST}"),
    ((3, 10), "co_linetable", f"{_FIRST} firstlineno linetable {_LAST}"),
    ((3, 8), "co_posonlyargcount", f"{_FIRST} firstlineno lnotab {_LAST}"),
    ((3, 7), "co_kwonlyargcount", f"argcount kwonlyargcount nlocals {_EARLY} firstlineno lnotab {_LAST}"),
]
CODE_VERSION, CODE_PARAMS = next(
    (version, params.split()) for version, known_by, params in ALL_CODE_PARAMS if hasattr(CodeType, known_by)
)
ENCODE_PARAMS = {"code", "lnotab", "linetable", "endlinetable", "columntable", "exceptiontable"} & set(CODE_PARAMS)


_OWN_ARGUMENTS = len(CODE_PARAMS) + 1


def _create_code(*args):
    """A code object from the arguments any version's streams have: they are told apart by their number."""
    if len(args) == _OWN_ARGUMENTS and not isinstance(args[0], int):
        try:
            return CodeType(*args[1:])
        except TypeError:
            pass  # text where bytes are wanted, say
    fields = {"lnotab": b""}
    if not isinstance(args[0], int):  # since 3.10 the old line table comes first
        fields["lnotab"], *args = args
    params = next((params for _, _, params in ALL_CODE_PARAMS if len(params.split()) == len(args)), None)
    if params is None:
        raise UnpicklingError(f"a code object with {len(args)} arguments: of which version of Python is it?")
    params = params.split()
    given = dict(zip(params, args))
    if "linetable" in CODE_PARAMS and "lnotab" in given:
        given["linetable"] = given.pop("lnotab")  # 3.8 and 3.10 have as many: the right one of the two, or of no use
    elif "lnotab" in CODE_PARAMS and "linetable" in given:
        given.pop("linetable")
    fields.update(given)
    fields.setdefault("posonlyargcount", 0)
    fields.setdefault("linetable", b"")
    fields.setdefault("qualname", fields["name"])
    fields.setdefault("exceptiontable", b"")
    fields.setdefault("endlinetable", None)
    fields.setdefault("columntable", None)
    if params != CODE_PARAMS:
        warnings.warn(
            f"the code of {fields['name']}() was compiled by another version of Python: calling it may end this process",
            UnpicklingWarning,
            stacklevel=2,
        )
    return CodeType(
        *(
            fields[name].encode() if name in ENCODE_PARAMS and isinstance(fields[name], str) else fields[name]
            for name in CODE_PARAMS
        )
    )


def _unmarshal(string):
    return marshal.loads(string)


def _create_function(fcode, fglobals, fname=None, fdefaults=None, fclosure=None, fdict=None, fkwdefaults=None):
    function = FunctionType(fcode, {} if fglobals is None else fglobals, fname, fdefaults, fclosure)
    if fdict:
        function.__dict__.update(fdict)
    if fkwdefaults is not None:
        function.__kwdefaults__ = fkwdefaults
    function.__globals__.setdefault("__builtins__", builtins)
    return function


def _create_cell(contents=None):
    return types.CellType() if contents is _CELL_EMPTY else types.CellType(contents)


def _create_ftype(ftypeobj, func, args, kwds):
    return ftypeobj(func, *(args or ()), **(kwds or {}))


def _setitems(dest, source):
    dest.update(source)


# --- classes -------------------------------------------------------------------------------------------------------------


def _create_type(typeobj, *args):
    return typeobj(*args)


def _create_namedtuple(name, fieldnames, modulename, defaults=None):
    module = _import_module(modulename, safe=True)
    found = getattr(module, name, None) if module is not None else None
    if getattr(found, "_fields", None) == tuple(fieldnames):
        return found
    return namedtuple(name, fieldnames, defaults=defaults, module=modulename)


def _create_enum(meta, name, bases, members, namespace):
    made = meta.__prepare__(name, bases)
    for key, value in (*members, *namespace.items()):
        made[key] = value
    cls = meta.__new__(meta, name, bases, made)
    meta.__init__(cls, name, bases, made)
    return cls


def _load_type(name):
    try:
        return _reverse_typemap[name]
    except KeyError:
        raise UnpicklingError(f"this version of Python has no type {name}") from None


def _create_dtypemeta(scalar_type):
    import numpy

    return type(numpy.dtype) if scalar_type is None else type(numpy.dtype(scalar_type))


def _create_array(f, args, state, npdict=None):
    array = f(*args)
    array.__setstate__(state)
    if npdict:
        array.__dict__.update(npdict)
    return array


def _create_typing_tuple(argz, *args):
    if not argz:
        return Tuple[()].copy_with(())
    return Tuple[()] if argz == ((),) else Tuple[argz]


# --- names -----------------------------------------------------------------------------------------------------------------


def _import_module(import_name, safe=False):
    """The module; one that is named __runtime__.x is made, because it never was a file."""
    try:
        if import_name.startswith("__runtime__."):
            return types.ModuleType(import_name.partition(".")[2])
        module, dot, name = import_name.rpartition(".")
        if not dot:
            return __import__(import_name)
        __import__(module)
        found = getattr(sys.modules[module], name, None)
        if found is None or not isinstance(found, types.ModuleType):
            __import__(import_name)
            found = sys.modules[import_name]
        return found
    except (ImportError, AttributeError, KeyError, ValueError):
        if safe:
            return None
        raise


def _getattribute(obj, name):
    for part in name.split("."):
        parent, obj = obj, getattr(obj, part)
    return obj, parent


def _get_attr(self, name):
    return getattr(self, name, None) or getattr(builtins, name)


def _getattr(objclass, name, repr_str):
    """An attribute of a class as it stands in its namespace (a descriptor is not asked)."""
    for cls in objclass.__mro__ if isinstance(objclass, type) and objclass is not type else (objclass,):
        if name in vars(cls):
            return vars(cls)[name]
    return getattr(objclass, name)


def _eval_repr(repr_str):
    """What `Ellipsis`, `NotImplemented` or a range says of itself in old streams."""
    constants = {"Ellipsis": Ellipsis, "NotImplemented": NotImplemented, "None": None}
    if repr_str in constants:
        return constants[repr_str]
    if repr_str.startswith("range(") and repr_str.endswith(")"):
        return range(*map(int, repr_str[6:-1].split(",")))
    raise UnpicklingError(f"not something that is loaded from what it prints as: {repr_str[:60]}")


# --- locks, references -------------------------------------------------------------------------------------------------------


def _create_lock(locked, *args):
    lock = threading.Lock()
    if locked and not lock.acquire(False):
        raise UnpicklingError("Cannot acquire lock")
    return lock


def _create_rlock(count, owner, *args):
    lock = RLockType()
    if owner and count:
        lock._acquire_restore((count, owner))
    if owner and not lock._is_owned():
        raise UnpicklingError("Cannot acquire lock")
    return lock


def _create_thread_handle(ident, done, *args):
    handle = threading._make_thread_handle(ident)
    if done:
        handle._set_done()
    return handle


class _Gone:
    """What a dead reference referred to."""

    def __call__(self):
        """Makes proxies of it callable ones."""


class _GoneData:
    """The same, not callable."""


def _create_weakref(obj, *args):
    return weakref.ref(_Gone() if obj is None else obj)


def _create_weakproxy(obj, callable=False, *args):
    if obj is None:
        return weakref.proxy(_Gone() if callable else _GoneData())
    return weakref.proxy(obj)


def _create_context(items):
    import contextvars

    context = contextvars.Context()
    for variable, value in items:
        context.run(variable.set, value)
    return context


def _create_capsule(pointer, name, context, destructor):
    """The capsule that stands where its name says; else a new one around the same address."""
    from ._save_other import capsules

    parts = name.decode().split(".") if name else []
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found = _import_module(".".join(parts[:cut]))
            for part in parts[cut:]:
                found = getattr(found, part)
        except (ImportError, AttributeError):
            continue
        if capsules.is_valid(found, name):
            return found
        raise UnpicklingError(f"{type(found)} object exists at {name} but a PyCapsule object was expected.")
    return capsules.new(pointer, name, context, destructor)


# --- files --------------------------------------------------------------------------------------------------------------------

_STANDARD = {"<stdin>": "__stdin__", "<stdout>": "__stdout__", "<stderr>": "__stderr__"}


def _open_again(name, mode, fmode, fdata, open):
    """The file `name` open in `mode`, as `fmode` wants it."""
    exists = isinstance(name, (str, bytes, os.PathLike, int)) and os.path.exists(name)
    if fmode == FILE_FMODE:
        file = open(name, mode if "w" in mode else "w" + mode.replace("r", "").replace("a", "").replace("x", ""))
        file.write(fdata)
        if "w" not in mode:
            file.close()
            file = open(name, mode)
        return file
    if name == "<fdopen>" or (not exists and "r" in mode):
        return tempfile.TemporaryFile(mode)
    if fmode == CONTENTS_FMODE and ("w" in mode or "x" in mode):
        # Opening it this way would empty it.
        file = os.fdopen(os.open(name, os.O_CREAT | (os.O_RDWR if "+" in mode else os.O_WRONLY), 0o666), mode)
        buffer = getattr(file, "buffer", file)
        getattr(buffer, "raw", buffer).name = name
        return file
    return open(name, mode)


def _create_filehandle(name, mode, position, closed, open, strictio, fmode, fdata):
    if name in _STANDARD:
        return getattr(sys, _STANDARD[name])
    try:
        size = os.path.getsize(name)
    except (OSError, TypeError, ValueError):
        size = 0
        if strictio:
            raise FileNotFoundError(f"[Errno 2] No such file or directory: '{name}'") from None
    if position > size:
        if strictio:
            raise ValueError("invalid buffer size")
        if fmode == CONTENTS_FMODE:
            position = size
    try:
        file = _open_again(name, mode, fmode, fdata, open)
    except OSError as error:
        raise UnpicklingError(error) from error
    if closed:
        file.close()
    elif position >= 0 and fmode != HANDLE_FMODE:
        file.seek(position)
    return file


def _create_stringi(value, position, closed):
    made = io.BytesIO(value) if isinstance(value, bytes) else io.StringIO(value)
    if closed:
        made.close()
    else:
        made.seek(position)
    return made


_create_stringo = _create_stringi
