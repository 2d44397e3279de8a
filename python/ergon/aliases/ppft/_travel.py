"""Calls as bytes for another machine, which does not have this program's own modules.

Functions and classes of modules that were installed (the standard library, site-packages) are named; those of the
program's own modules travel whole.
"""

import os
import sys
import sysconfig
import threading
import types

from ergon import dumps, pickle

_lock = threading.Lock()
_installed = tuple(
    os.path.join(os.path.realpath(path), "")
    for path in {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)
_here = os.path.join(os.path.realpath(os.path.dirname(os.path.dirname(os.path.dirname(__file__)))), "")
_known = {}  # module name: whether it is the program's own


def dumps_call(call):
    """A call, (function, args), as bytes."""
    modules = {name for name in _modules_of(call) if _is_own(name)}
    if not modules:
        return dumps(call)
    with _lock:
        mine = [sys.modules[name] for name in modules - set(pickle.by_value_modules())]
        for module in mine:
            pickle.register_pickle_by_value(module)
        try:
            return dumps(call)
        finally:
            for module in mine:
                pickle.unregister_pickle_by_value(module)


def _modules_of(value, depth=3):
    """The modules of functions and of objects' classes, a few levels into tuples and lists."""
    if isinstance(value, (tuple, list)):
        if depth:
            for item in value[:100]:
                yield from _modules_of(item, depth - 1)
    elif isinstance(value, (types.FunctionType, types.MethodType, type)):
        yield value.__module__
        if isinstance(value, types.MethodType):
            yield type(value.__self__).__module__
    else:
        for base in type(value).__mro__:
            yield base.__module__


def _is_own(name):
    own = _known.get(name)
    if own is None:
        path = getattr(sys.modules.get(name), "__file__", None)
        path = path and os.path.realpath(path)
        own = _known[name] = bool(path and name != "__main__" and not path.startswith((*_installed, _here)))
    return own
