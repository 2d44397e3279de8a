"""How the pickler saves what the standard library's does not.

Everything is a reduction (a callable, its arguments, a state), so that any pickler of the standard library's kind can
write it, and recursion is the pickler's business. Two things are added. A function is written as a shell with
empty cells; what is in its cells and globals follows when nothing that is being built could be in the way: see
`Pending`. A class that is met again while its own namespace is written is made from the part that cannot lead
back to it, and gets the rest afterwards: see `_save_class`.
"""

import functools
import importlib.machinery
import os
import sys
import types
from pickle import GLOBAL, POP
from pickle import _Pickler as StockPickler

from . import _create as make
from . import _types as kinds
from .logger import adapter as logger


class MetaCatchingDict(dict):
    """The dispatch table of a pickler: any metaclass counts as `type`."""

    def get(self, key, default=None):
        try:
            return self[key]
        except KeyError:
            return default

    def __missing__(self, key):
        if issubclass(key, type):
            return TABLE[type]
        raise KeyError(key)


TABLE = {}  # type → function(pickler, obj)


def saves(*types_, label=None):
    """The function saves objects of exactly these types; the trace shows them under the label."""

    def enter(function):
        entry = traced(label)(function) if label else function
        TABLE.update(dict.fromkeys(types_, entry))
        return entry

    return enter


def traced(label):
    def wrap(function):
        def save(pickler, obj):
            with tracing(pickler, label, obj):
                function(pickler, obj)

        save.__name__ = save.__qualname__ = function.__name__
        save.__doc__ = function.__doc__
        return save

    return wrap


class tracing:
    """The body saves obj."""

    __slots__ = ("label", "pickler")

    def __init__(self, pickler, label, obj):
        self.pickler, self.label = pickler, label
        if getattr(pickler, "_trace_begun", None) is not None:
            shown = obj
            if type(obj) is dict or label == "Mp":
                shown = f"<{type(obj).__name__} object at {id(obj):#x}>"
            elif label == "Dkvi":
                shown = f"<{obj}>"
            logger.trace(pickler, label + ": %s", shown)

    def __enter__(self):
        return self

    def __exit__(self, kind, *rest):
        if kind is None:
            logger.trace(self.pickler, "# " + self.label)


def is_dill(pickler, child=None):
    """Whether it is a pickler of dill; with child=True also whether it is derived from one."""
    if child is False or not hasattr(type(pickler), "mro"):
        return "dill" in pickler.__module__
    return "dill" in type(pickler).__module__ or any("dill" in cls.__module__ for cls in type(pickler).__mro__)


def option(pickler, name):
    return getattr(pickler, name, None)


# --- what waits --------------------------------------------------------------------------------------------------------


class Pending:
    """What one pickle still has to do to objects that are there already.

    While a class is being built (its arguments are written) calls on functions of its namespace wait until it is
    there: they may lead to it. What is done afterwards is done at once, however deep it leads.
    """

    def __init__(self):
        self.waiting = []  # a list per class being built; None: what comes is done at once
        self.building = {}  # id of a class → how many times it was entered
        self.again = set()  # ids of classes that were entered again
        self.namespaces = {}  # id of a dict of globals → (it, the dict that stands for it, names that are there)

    @staticmethod
    def of(pickler):
        try:
            return pickler._pending
        except AttributeError:
            pickler._pending = Pending()
            return pickler._pending


class Call:
    """In a stream: function(*args), to be called with more when loaded."""

    def __init__(self, function, *args):
        self.reduction = function, args

    def __reduce__(self):
        return self.reduction

    def __call__(self, *args):
        function, first = self.reduction
        return function(*first)(*args)


def later(pickler, function, *args):
    """function(*args) is called when loaded; its result is dropped."""
    waiting = Pending.of(pickler).waiting
    if waiting and waiting[-1] is not None:
        waiting[-1].append((function, args))
    else:
        pickler.save_reduce(function, args)
        pickler.write(POP)


def _save_with_postproc(pickler, reduction, is_pickler_dill=None, obj=None, postproc_list=None):
    """A reduction, and calls for afterwards: pairs of function and arguments."""
    pickler.save_reduce(*reduction, obj=obj)
    for function, args in postproc_list or ():
        later(pickler, function, *args)


# --- by reference or by value ---------------------------------------------------------------------------------------------


def _main():
    return sys.modules["__main__"]


def _locate_function(obj, pickler=None):
    """Whether importing the object's module gives this very object under its name."""
    module = getattr(obj, "__module__", None)
    if module in ("__main__", None) or not isinstance(module, str):
        return False
    if option(pickler, "_session") and is_dill(pickler, child=False) and module == pickler._main.__name__:
        return False
    found = sys.modules.get(module) or make._import_module(module, safe=True)
    name = getattr(obj, "__qualname__", None) or getattr(obj, "__name__", None)
    if found is None or not isinstance(name, str):
        return False
    try:
        return make._getattribute(found, name)[0] is obj
    except Exception:  # attributes of modules and classes may raise anything
        return False


EXTENSION_SUFFIXES = tuple(importlib.machinery.EXTENSION_SUFFIXES)
_PREFIXES = tuple(
    {
        os.path.realpath(getattr(sys, name)) + os.sep
        for name in ("base_prefix", "base_exec_prefix", "exec_prefix", "prefix", "real_prefix")
        if hasattr(sys, name)
    }
)


def _is_builtin_module(module):
    """Whether it is part of the installation, so that importing it elsewhere gives the same."""
    file = getattr(module, "__file__", None)
    if not file or module.__name__.partition(".")[0] in ("dill", "ergon"):
        return True
    if file.endswith(EXTENSION_SUFFIXES) or "site-packages" in file or "dist-packages" in file:
        return True
    return os.path.realpath(file).startswith(_PREFIXES)


def _is_imported_module(module):
    return getattr(module, "__loader__", None) is not None or module in sys.modules.values()


def refers_to_main(pickler, namespace):
    mains = [_main()]
    if is_dill(pickler, child=True):
        mains = [option(pickler, "_main"), option(pickler, "_original_main")]
    return any(main is not None and namespace is getattr(main, "__dict__", None) for main in mains)


def save_global(pickler, obj, name=None):
    StockPickler.save_global(pickler, obj, name=name or getattr(obj, "__qualname__", None))


# --- dicts and modules -----------------------------------------------------------------------------------------------------


@saves(dict)
def save_module_dict(pickler, obj):
    if refers_to_main(pickler, obj):
        # The first only dill's unpickler understands: it may be loading the state of another module.
        named, label = (
            (b"__builtin__\n__main__\n", "D1") if is_dill(pickler, False) else (b"__main__\n__dict__\n", "D3")
        )
        with tracing(pickler, label, obj):
            pickler.write(GLOBAL + named)
        return
    name = dict.get(obj, "__name__")
    if type(name) is str and obj is getattr(sys.modules.get(name), "__dict__", None) and name != "__main__":
        with tracing(pickler, "D4", obj):
            pickler.write(GLOBAL + name.encode() + b"\n__dict__\n")
        return
    with tracing(pickler, "D2", obj):
        StockPickler.save_dict(pickler, obj)


@saves(types.ModuleType)
def save_module(pickler, obj):
    whole = is_dill(pickler, child=True) and obj is option(pickler, "_main")
    if _is_builtin_module(obj) and _is_imported_module(obj) and not whole:
        with tracing(pickler, "M2", obj):
            pickler.save_reduce(make._import_module, (obj.__name__,), obj=obj)
        return
    with tracing(pickler, "M1", obj):
        content = {
            name: value
            for name, value in vars(obj).items()
            if name not in ("__builtins__", "__loader__", "__spec__", "__cached__")
        }
        name = obj.__name__ if _is_imported_module(obj) else f"__runtime__.{obj.__name__}"
        if whole:
            name = option(pickler, "_session_name") or name
        pickler.save_reduce(make._import_module, (name,), content, obj=obj)


# --- functions ---------------------------------------------------------------------------------------------------------------

ATOMS = (int, float, complex, str, bytes, bool, type(None))


def harmless(value):
    """Whether the value cannot lead anywhere."""
    return type(value) in ATOMS or (type(value) is tuple and all(map(harmless, value)))


@saves(types.CodeType, label="Co")
def save_code(pickler, obj):
    fields = [getattr(obj, "co_" + name) for name in make.CODE_PARAMS]
    pickler.save_reduce(make._create_code, (b"", *fields), obj=obj)


@saves(types.CellType)
def save_cell(pickler, obj):
    try:
        contents = obj.cell_contents
    except ValueError:
        with tracing(pickler, "Ce3", obj):
            pickler.save_reduce(make._create_cell, (make._CELL_EMPTY,), obj=obj)
        return
    if harmless(contents):
        with tracing(pickler, "Ce1", obj):
            pickler.save_reduce(make._create_cell, (contents,), obj=obj)
        return
    with tracing(pickler, "Ce2", obj):
        pickler.save_reduce(make._create_cell, (make._CELL_EMPTY,), obj=obj)
        later(pickler, setattr, obj, "cell_contents", contents)


def global_names(code, found=None):
    """Names the code, or code inside it, may look up among globals."""
    found = {} if found is None else found  # a dict: in the order of the code, whatever the hash seed
    found.update(dict.fromkeys(code.co_names))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            global_names(constant, found)
    return found


def _globals(pickler, obj):
    """The dict that stands for a function's globals, and what it still lacks."""
    namespace = obj.__globals__
    recurse = option(pickler, "_recurse")
    if not recurse and refers_to_main(pickler, namespace):
        return vars(option(pickler, "_main") or _main()), {}
    if not recurse and namespace is getattr(sys.modules.get(dict.get(namespace, "__name__")), "__dict__", None):
        return namespace, {}
    known = Pending.of(pickler).namespaces
    if id(namespace) not in known:
        name = dict.get(namespace, "__name__")
        known[id(namespace)] = (namespace, {} if name is None else {"__name__": name}, {"__name__", "__builtins__"})
    _, stand_in, there = known[id(namespace)]
    names = global_names(obj.__code__) if recurse else namespace
    missing = {name: namespace[name] for name in names if name in namespace and name not in there}
    there.update(missing)
    return stand_in, missing


def _function_state(obj, stand_in):
    slots = {}
    if obj.__qualname__ != obj.__name__:
        slots["__qualname__"] = obj.__qualname__
    if obj.__module__ != stand_in.get("__name__"):
        slots["__module__"] = obj.__module__
    if obj.__defaults__ and not harmless(obj.__defaults__):
        slots["__defaults__"] = obj.__defaults__
    if obj.__kwdefaults__:
        slots["__kwdefaults__"] = obj.__kwdefaults__
    if obj.__annotations__:
        slots["__annotations__"] = obj.__annotations__
    if getattr(obj, "__type_params__", None):
        slots["__type_params__"] = obj.__type_params__
    constants = obj.__code__.co_consts
    if obj.__doc__ != (constants[0] if constants and isinstance(constants[0], str) else None):
        slots["__doc__"] = obj.__doc__
    return (obj.__dict__, slots) if slots or obj.__dict__ else None


@saves(types.FunctionType)
def save_function(pickler, obj):
    if _locate_function(obj, pickler):
        with tracing(pickler, "F2", obj):
            save_global(pickler, obj)
        return
    with tracing(pickler, "F1", obj):
        stand_in, missing = _globals(pickler, obj)
        defaults = obj.__defaults__ if harmless(obj.__defaults__) else None
        args = (obj.__code__, stand_in, obj.__name__, defaults, obj.__closure__)
        pickler.save_reduce(make._create_function, args, _function_state(obj, stand_in), obj=obj)
        if missing:
            later(pickler, make._setitems, stand_in, missing)


@saves(types.MethodType, label="Me1")
def save_instancemethod0(pickler, obj):
    pickler.save_reduce(types.MethodType, (obj.__func__, obj.__self__), obj=obj)


@saves(kinds.LRUCacheType)
def save_lru_cache(pickler, obj):
    if _locate_function(obj, pickler):
        with tracing(pickler, "LRU2", obj):
            save_global(pickler, obj)
        return
    with tracing(pickler, "LRU", obj):
        parameters = obj.cache_parameters()
        decorator = Call(functools.lru_cache, parameters["maxsize"], parameters["typed"])
        state = {name: value for name, value in obj.__dict__.items() if name != "__wrapped__"}
        pickler.save_reduce(decorator, (obj.__wrapped__,), state, obj=obj)
