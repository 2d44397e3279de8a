"""The picklers, and every name that programs look up in dill._dill.

Where nothing needs dill's ways (data, and instances of importable classes) a stream is written by Ergon's pickler in C;
as soon as it meets something else, `Pickler`, the standard library's pickler with the table of `_save`, writes it.
"""

import abc
import builtins
import io
import os
import pickle as _pickle
import subprocess
import sys
from pickle import HIGHEST_PROTOCOL, PickleError, PicklingError, UnpicklingError
from pickle import _Pickler as StockPickler

import __main__ as _main_module
from ergon._core import Pickler as _FastPickler
from ergon._core import Unpickler as _FastUnpickler
from ergon.pickle import pointers

from . import _create, _save, _save_class, _save_other, _types
from ._create import *  # noqa: F403
from ._create import CONTENTS_FMODE, FILE_FMODE, HANDLE_FMODE, PickleWarning, PicklingWarning, UnpicklingWarning
from ._save import MetaCatchingDict, Pending, _locate_function, is_dill  # noqa: F401
from ._types import *  # noqa: F403
from .logger import adapter as logger
from .logger import trace as _trace  # noqa: F401
from .settings import settings

__all__ = [
    "dump",
    "dumps",
    "load",
    "loads",
    "copy",
    "Pickler",
    "Unpickler",
    "register",
    "pickle",
    "pickles",
    "check",
    "DEFAULT_PROTOCOL",
    "HIGHEST_PROTOCOL",
    "HANDLE_FMODE",
    "CONTENTS_FMODE",
    "FILE_FMODE",
    "PickleError",
    "PickleWarning",
    "PicklingError",
    "PicklingWarning",
    "UnpicklingError",
    "UnpicklingWarning",
]

DEFAULT_PROTOCOL = _pickle.DEFAULT_PROTOCOL
StockUnpickler = _pickle.Unpickler
IS_PYPY = sys.implementation.name == "pypy"
IS_IPYTHON = hasattr(builtins, "__IPYTHON__")
IS_PYODIDE = sys.platform == "emscripten"
OLD38 = OLD39 = False
OLD310 = sys.version_info < (3, 10)
OLD312a7 = sys.version_info < (3, 12)
MAPPING_PROXY_TRICK = True
GENERATOR_FAIL = False
log = logger

for _module in (_create, _save, _save_class, _save_other, _types):
    for _name, _value in list(vars(_module).items()):
        if not _name.startswith("__"):
            globals().setdefault(_name, _value)
# Streams name what they call, and it stands here.
for _value in list(vars(_create).values()):
    if getattr(_value, "__module__", None) == _create.__name__:
        _value.__module__ = __name__


class Pickler(StockPickler):
    """python's Pickler extended to interpreter sessions"""

    dispatch = MetaCatchingDict(StockPickler.dispatch)
    dispatch.update(_save.TABLE)
    _session = False
    settings = settings

    def __init__(self, file, *args, **kwds):
        def given(name):
            value = kwds.pop(name, None)
            return settings.get(name, False) if value is None else value

        self._byref, self._fmode, self._recurse = given("byref"), given("fmode"), given("recurse")
        self._strictio = bool(kwds.pop("strictio", False))
        kwds.pop("ignore", None)
        self._main = self._original_main = sys.modules["__main__"]
        self._file = file
        self._diff_cache = {}
        self._postproc = {}
        if args:
            args = (_protocol(args[0]), *args[1:])
        super().__init__(file, *args, **kwds)

    def dump(self, obj):
        logger.trace_setup(self)
        super().dump(obj)

    dump.__doc__ = StockPickler.dump.__doc__

    def save(self, obj, save_persistent_id=True):
        if type(obj) not in self.dispatch and _save_other.ndarraysubclassinstance(obj) and id(obj) not in self.memo:
            return _save_other.save_array_subclass(self, obj)
        return super().save(obj, save_persistent_id)

    def clear_memo(self):
        super().clear_memo()
        self._pending = Pending()


class Unpickler(_FastUnpickler):
    """python's Unpickler extended to interpreter sessions and more types"""

    _session = False

    def __init__(self, *args, **kwds):
        ignore = kwds.pop("ignore", None)
        self._ignore = settings["ignore"] if ignore is None else ignore
        self._main = sys.modules["__main__"]
        super().__init__(*args, **kwds)

    def find_class(self, module, name):
        if module in ("__builtin__", "builtins") and name == "__main__":
            return self._main.__dict__
        if module == "__builtin__" and name == "NoneType":
            return type(None)
        if module == "dill.dill":
            module = "dill._dill"
        return super().find_class(module, name)

    def load(self):
        obj = super().load()
        cls = type(obj)
        if not self._ignore and cls.__module__ == self._main.__name__:
            try:
                obj.__class__ = getattr(self._main, cls.__name__)
            except (AttributeError, TypeError):
                pass  # it is not defined there, or cannot be changed
        return obj


def _protocol(protocol):
    return settings["protocol"] if protocol is None else int(protocol)


# --- the fast way ---------------------------------------------------------------------------------------------------------

_PLAIN_MODULES = {"datetime", "decimal", "collections", "fractions", "uuid", "pathlib"}


class _NotPlain(Exception):
    """The stream needs the other pickler."""


def _plain_type(cls):
    """Whether instances are pickled in the common way, and the class is importable."""
    if type(cls) not in (type, abc.ABCMeta) or cls in Pickler.dispatch or cls in StockPickler.dispatch:
        return False
    if not _locate_function(cls):
        return False
    if cls.__module__ in _PLAIN_MODULES:
        return True
    common = ("__reduce__", "__reduce_ex__", "__getstate__", "__getnewargs__", "__getnewargs_ex__")
    return cls.__module__ != "builtins" and all(
        getattr(cls, name, None) is getattr(object, name, None) for name in common
    )


class _Plain(_FastPickler):
    def reducer_override(self, obj):
        if isinstance(obj, type):
            if _plain_type(obj):
                return NotImplemented
        elif _plain_type(type(obj)):
            return NotImplemented
        raise _NotPlain


def _dump_plain(obj, protocol):
    """The stream, or None where it takes the other pickler."""
    if protocol < 2 or logger.isEnabledFor(20):
        return None
    file = io.BytesIO()
    try:
        _Plain(file, protocol, byref=True).dump(obj)  # none of the reducers dill does not have
    except _NotPlain:
        return None
    except Exception:  # whatever it is, the other pickler says it in its own words
        return None
    return file.getvalue()


# --- the functions ----------------------------------------------------------------------------------------------------------


def dump(obj, file, protocol=None, byref=None, fmode=None, recurse=None, **kwds):
    """Pickles `obj` to the open binary file; see the documentation of `settings` for the keywords."""
    protocol = _protocol(protocol)
    if not kwds:
        stream = _dump_plain(obj, protocol)
        if stream is not None:
            file.write(stream)
            return
    Pickler(file, protocol, byref=byref, fmode=fmode, recurse=recurse, **kwds).dump(obj)


def dumps(obj, protocol=None, byref=None, fmode=None, recurse=None, **kwds):
    """The pickle of `obj` as bytes."""
    file = io.BytesIO()
    dump(obj, file, protocol, byref, fmode, recurse, **kwds)
    return file.getvalue()


def load(file, ignore=None, **kwds):
    """The object whose pickle the open binary file holds."""
    return Unpickler(file, ignore=ignore, **kwds).load()


def loads(str, ignore=None, **kwds):
    """The object whose pickle the bytes are."""
    return load(io.BytesIO(str), ignore, **kwds)


def copy(obj, *args, **kwds):
    """`obj`, pickled and loaded."""
    ignore = kwds.pop("ignore", None)
    return loads(dumps(obj, *args, **kwds), ignore=ignore)


def pickle(t, func):
    """Makes `func(pickler, obj)` save objects of exactly the type `t`."""
    Pickler.dispatch[t] = func


def register(t):
    """The decorator for what pickle() does."""

    def proxy(func):
        pickle(t, func)
        return func

    return proxy


def _extend():
    """Puts dill's types into the standard library's Python pickler as well."""
    StockPickler.dispatch.update(_save.TABLE)


def _revert_extension():
    """Takes them out again."""
    for kind, function in list(StockPickler.dispatch.items()):
        if kind in pickle_dispatch_copy:
            StockPickler.dispatch[kind] = pickle_dispatch_copy[kind]
        elif function is _save.TABLE.get(kind):
            del StockPickler.dispatch[kind]


pickle_dispatch_copy = StockPickler.dispatch.copy()


def pickles(obj, exact=False, safe=False, **kwds):
    """Whether `obj` survives pickling: equal (or, unless `exact`, of the same type) afterwards.

    With `safe` whatever is raised on the way is a no; otherwise only what picklers raise is.
    """
    expected = Exception if safe else (TypeError, AssertionError, NotImplementedError, PicklingError, UnpicklingError)
    try:
        found = copy(obj, **kwds)
        try:
            same = bool(found.all() if hasattr(found == obj, "all") and not isinstance(found, type) else found == obj)
        except Exception:  # comparing is the user's code
            same = False
        if same:
            return True
        if exact:
            return False
        if type(found) is type(obj):
            return True
        return repr(type(found)) == repr(type(obj))
    except expected:
        return False


def check(obj, *args, **kwds):
    """Whether `obj` can be pickled here and loaded in another process, which prints what goes wrong there.

    python= names another interpreter; verbose= prints the command.
    """
    verbose = kwds.pop("verbose", False)
    python = kwds.pop("python", None) or sys.executable
    stream = dumps(obj, *args, **kwds)
    program = "import sys, dill; dill.loads(sys.stdin.buffer.read())"
    if verbose:
        print(f"{python} -c {program!r}")
    done = subprocess.run([python, "-c", program], input=stream, capture_output=True)
    if done.returncode:
        print(done.stderr.decode(errors="replace"))
    if verbose:
        print("SUCCEEDED" if done.returncode == 0 else "FAILED")
    return done.returncode == 0


# --- what the names stand for --------------------------------------------------------------------------------------------------


def __getattr__(name):
    # Where older programs look for them; session.py needs this module first.
    if name in ("dump_session", "load_session", "_stash_modules", "_restore_modules"):
        from . import session

        return getattr(session, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _repr_dict(obj):
    return f"<dict object at {id(obj):#x}>"


def get_file_type(*args, **kwargs):
    open_ = kwargs.pop("open", open)
    with open_(os.devnull, *args, **kwargs) as file:
        return type(file)


_proxy_helper = pointers.reference


def _locate_object(address, module=None):
    """The object with this id, among the values of a module, or everywhere."""
    return pointers.at(address, _main_module if module is True else module)


if _save_other.capsules:
    _PyCapsule_New = _save_other.capsules._new
    _PyCapsule_GetName = _save_other.capsules.name
    _PyCapsule_GetPointer = _save_other.capsules.pointer
    _PyCapsule_GetContext = _save_other.capsules.context
    _PyCapsule_GetDestructor = _save_other.capsules.destructor
    _PyCapsule_IsValid = _save_other.capsules._is_valid
    _PyCapsule_SetContext = _save_other.capsules._set_context
    _PyCapsule_SetDestructor = _save_other.capsules._set_destructor
    _PyCapsule_SetName = _save_other.capsules._set_name
    _PyCapsule_SetPointer = _save_other.capsules._set_pointer
    _testcapsule_name = b"dill._dill._testcapsule"
    _testcapsule = _save_other.capsules.new(
        _types.ctypes.cast(_save_other.capsules._new, _types.ctypes.c_void_p), _testcapsule_name
    )
else:
    _testcapsule = None
