"""Whose module is it, and where in it does something lie. For what workers are told about a program's surroundings."""

import os
import sys
import types

from . import _core

_ATOMS = frozenset({int, float, complex, bool, str, bytes, type(None), type(...), type(NotImplemented), range})
_DESCRIPTORS: tuple = (types.MemberDescriptorType, types.GetSetDescriptorType)
_OWN = tuple(os.path.join(os.path.dirname(file), "") for file in (os.__file__, __file__))


def _is_library_file(file):
    return file.startswith(_OWN) or "/site-packages/" in file or "/dist-packages/" in file or file.startswith("<frozen")


def _is_user(module):
    """It is neither the standard library's nor an installed package's."""
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and not _is_library_file(file)


def _by_reference(name):
    """The module, if workers import it."""
    module = sys.modules.get(name) if isinstance(name, str) and name not in ("__main__", "__mp_main__") else None
    return module if isinstance(module, types.ModuleType) and getattr(module, "__spec__", None) is not None else None


def _found(module, path):
    value = sys.modules.get(module)
    for name in path.split(".") if path else ():
        value = vars(value).get(name) if isinstance(value, (types.ModuleType, type)) else None
        value = _inner(value)
    return value


def _joined(path, name):
    return f"{path}.{name}" if path else name


def _outer(module, path):
    owner, _, name = path.rpartition(".")
    owner = _found(module, owner)
    return vars(owner).get(name) if isinstance(owner, (types.ModuleType, type)) else None


def _inner(value):
    """The function that a functional, a scheduled function or a static method is made of."""
    while True:
        if isinstance(value, (_core.Functional, _core.Schedule)):
            value = value._function
        elif isinstance(value, (staticmethod, classmethod)):
            value = value.__func__
        else:
            return value


def _place(value):
    """(module, path) that leads to a function or class, for who imports the module; or None."""
    module, path = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(path, str) or _by_reference(module) is None:
        return None
    return (module, path) if _found(module, path) is _inner(value) else None


def _is_random(value):
    module = type(value).__module__
    return module in ("random", "_random") or module.startswith("numpy.random")


def _inside(value):
    """Its attributes, without asking it."""
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found if type(found) is dict else {}
