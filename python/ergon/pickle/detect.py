"""What a function refers to, and what in an object cannot be pickled.

badobjects(obj, depth=1)        {attribute: object} of those that do not survive pickling
globalvars(function)            {name: object} of the globals it and what it calls refer to
"""

from __future__ import annotations

import builtins
import dis
import gc
import importlib
import inspect
import types
from collections.abc import Iterator
from typing import Any, TextIO

from . import pointers as _pointers

at, children, parent, parents, reference = (
    _pointers.at,
    _pointers.children,
    _pointers.parent,
    _pointers.parents,
    _pointers.reference,
)

__all__ = [
    "baditems",
    "badobjects",
    "badtypes",
    "code",
    "errors",
    "freevars",
    "getmodule",
    "globalvars",
    "nestedcode",
    "nestedglobals",
    "outermost",
    "referredglobals",
    "referrednested",
    "trace",
    "varnames",
]


def _home(name: str = "") -> Any:
    """The package this module belongs to: it exists in more than one (see aliases/dill)."""
    return importlib.import_module((__package__ or __name__.rpartition(".")[0]) + name)


# --- functions ---------------------------------------------------------------------------------------------------------


def code(func: Any) -> types.CodeType | None:
    """The code object of a function, method, generator, frame or traceback; None of anything else."""
    if inspect.ismethod(func):
        func = func.__func__
    if isinstance(func, (staticmethod, classmethod)):
        func = func.__func__
    if inspect.isfunction(func):
        func = func.__code__
    elif inspect.istraceback(func):
        func = func.tb_frame.f_code
    elif inspect.isframe(func):
        func = func.f_code
    elif inspect.isgenerator(func):
        func = func.gi_code
    return func if inspect.iscode(func) else None


def nestedcode(func: Any, recurse: bool = True) -> list[types.CodeType]:
    """The code objects of functions defined inside; with `recurse` also of those inside them."""
    found: list[types.CodeType] = []
    own = code(func)
    for constant in own.co_consts if own else ():
        if inspect.iscode(constant) and constant not in found:
            found.append(constant)
            if recurse:
                found += (inner for inner in nestedcode(constant) if inner not in found)
    return found


def referrednested(func: Any, recurse: bool = True) -> list:
    """The functions that exist of those defined inside `func`: there are some only after it ran."""
    wanted = nestedcode(func, recurse)
    return [
        found
        for inner in wanted
        for found in gc.get_referrers(inner)
        if inspect.isfunction(found) and found.__code__ is inner
    ]


def varnames(func: Any) -> tuple:
    """(names of local variables, names of those that functions inside refer to); () of what has no code."""
    own = code(func)
    return (own.co_varnames, own.co_cellvars) if own else ()


def freevars(func: Any) -> dict[str, Any]:
    """{name: value} of the variables of enclosing functions that `func` refers to."""
    if inspect.ismethod(func):
        func = func.__func__
    if not inspect.isfunction(func):
        return {}
    found = {}
    for name, cell in zip(func.__code__.co_freevars, func.__closure__ or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            pass  # not assigned yet
    return found


def nestedglobals(func: Any, recurse: bool = True) -> list[str]:
    """The names that the code of `func` looks up among globals; with `recurse` also code inside it."""
    own = code(func)
    if own is None:
        return []
    names: dict[str, None] = {}
    for one in [own, *(nestedcode(own) if recurse else ())]:
        for instruction in dis.get_instructions(one):
            if "_GLOBAL" in instruction.opname or instruction.opname in ("LOAD_NAME", "STORE_NAME"):
                names[instruction.argval] = None
    return list(names)


def _called(func: Any) -> Iterator[Any]:
    """The functions in the cells of a function."""
    for value in freevars(func).values():
        if inspect.isfunction(value) or inspect.ismethod(value):
            yield value


def globalvars(func: Any, recurse: bool = True, builtin: bool = False) -> dict[str, Any]:
    """{name: value} of the globals that `func` refers to.

    With `recurse` also those of code inside it, of functions in its cells, and of functions among the globals found
    (of the same module). With `builtin` built-in names are included.
    """
    if inspect.ismethod(func):
        func = func.__func__
    if not inspect.isfunction(func):
        return {}
    namespace = func.__globals__
    found: dict[str, Any] = {}
    seen, queue = {id(func)}, [func]
    while queue:
        current = queue.pop()
        reached = list(_called(current)) if recurse else []
        for name in nestedglobals(current, recurse):
            if name in current.__globals__:
                value = current.__globals__[name]
            elif builtin and hasattr(builtins, name):
                value = getattr(builtins, name)
            else:
                continue
            if current.__globals__ is namespace or name not in found:
                found[name] = value
            reached.append(value)
        if not recurse:
            break
        for value in reached:
            target = value.__func__ if inspect.ismethod(value) else value
            if type(target) is types.FunctionType and id(target) not in seen and target.__globals__ is namespace:
                seen.add(id(target))
                queue.append(target)
    return found


def referredglobals(func: Any, recurse: bool = True, builtin: bool = False) -> Any:
    """The names that globalvars() finds."""
    return globalvars(func, recurse, builtin).keys()


def getmodule(object: Any, _filename: str | None = None, force: bool = False) -> Any:
    """The module of an object; with `force` builtins for what has a name there."""
    module = inspect.getmodule(object, _filename)
    if module or not force:
        return module
    return builtins if hasattr(builtins, str(getattr(object, "__name__", None))) else None


def outermost(func: Any) -> Any:
    """The function that encloses `func`, at module level; None if it is not found."""
    module = getmodule(func)
    own = code(func)
    if own is None or module is None:
        return None
    for candidate in list(vars(module).values()):
        outer = code(candidate)
        if outer is not None and (outer is own or own in nestedcode(outer)):
            return candidate
    return None


# --- objects ------------------------------------------------------------------------------------------------------------


def _attributes(obj: Any) -> Iterator[tuple[str, Any]]:
    for name in dir(obj):
        try:
            value = getattr(obj, name)
        except Exception:  # attributes run the user's code
            continue
        special = name.startswith("__") and name.endswith("__")
        if not special or (name != "__dict__" and getattr(value, "__self__", None) is not obj):
            yield name, value  # not the methods that everything has, nor all attributes once more


def errors(obj: Any, depth: int = 0, exact: bool = False, safe: bool = False) -> Any:
    """What is raised when `obj` is pickled and loaded: the exception, or None.

    With `depth` a dict {attribute: errors(value, depth - 1)} of the attributes that fail.
    """
    if depth:
        found = ((name, errors(value, depth - 1, exact, safe)) for name, value in _attributes(obj))
        return {name: error for name, error in found if error is not None and error != {}}
    try:
        copied = _home().copy(obj)
    except Exception as error:
        return error
    return _difference(copied, obj, exact)


def _difference(copied: Any, obj: Any, exact: bool) -> AssertionError | None:
    try:
        if bool(copied == obj):
            return None
    except Exception:  # comparing runs the user's code
        pass
    if exact:
        return AssertionError(f"the copy {copied!r} is not equal to {obj!r}")
    if type(copied) is not type(obj) and repr(type(copied)) != repr(type(obj)):
        return AssertionError(f"the copy is a {type(copied)}, not a {type(obj)}")
    return None


def _bad(obj: Any, depth: int, exact: bool, safe: bool, show: Any) -> Any:
    if depth:
        found = ((name, _bad(value, depth - 1, exact, safe, show)) for name, value in _attributes(obj))
        return {name: bad for name, bad in found if bad is not None and bad != {}}
    try:
        return None if _home().pickles(obj, exact, safe) else show(obj)
    except Exception:  # neither a yes nor a no
        return show(obj)


def badobjects(obj: Any, depth: int = 0, exact: bool = False, safe: bool = False) -> Any:
    """`obj` if it does not survive pickling, else None; with `depth` {attribute: badobjects(value, depth - 1)}."""
    return _bad(obj, depth, exact, safe, lambda found: found)


def badtypes(obj: Any, depth: int = 0, exact: bool = False, safe: bool = False) -> Any:
    """The same with the types of what fails."""
    return _bad(obj, depth, exact, safe, type)


def baditems(obj: Any, exact: bool = False, safe: bool = False) -> list:
    """The items of a container (or `obj` itself) that do not survive pickling."""
    if not hasattr(obj, "__iter__"):
        return [] if badobjects(obj, 0, exact, safe) is None else [obj]
    items = list(obj.values()) if hasattr(obj, "values") else list(obj)
    return [item for item in items if badobjects(item, 0, exact, safe) is not None]


def trace(obj: Any, file: TextIO | None = None) -> int:
    """What ergon.pickle.trace() prints: the functions, classes, modules and instances that a pickle of `obj` holds."""
    return importlib.import_module("ergon.pickle._trace").trace(obj, file)
