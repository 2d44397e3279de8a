"""Serialization of all of Python: standard pickle streams, written and read in C.

What a process elsewhere can import travels by reference; functions and classes of ``__main__``, lambdas,
closures and nested classes travel by value, with the globals they refer to. The streams are ordinary pickle
protocol 5: ``pickle.loads`` reads them wherever ergon is installed.

Modules: ``session`` (the state of a module in a file), ``source`` (source code of objects), ``detect`` (what cannot be
pickled, and what functions refer to), ``temp`` (temporary files), ``pointers`` (who refers to whom). Their main
functions are here as well.
"""

from .._core import (
    Pickler,
    Unpickler,
    by_value_modules,
    copy,
    digest,
    dump,
    dumps,
    load,
    loads,
    register_pickle_by_value,
    unregister_pickle_by_value,
)
from ..errors import PicklingError, UnpicklingError

HIGHEST_PROTOCOL = DEFAULT_PROTOCOL = 5

_LATER = {
    "session": ("dump_module", "load_module", "load_module_asdict"),
    "source": ("getsource", "importable"),
    "detect": ("baditems", "badobjects", "badtypes", "errors", "globalvars"),
    "pointers": ("children", "parent", "parents"),
    "temp": (),
    "_trace": ("trace",),
}

__all__ = [
    "DEFAULT_PROTOCOL",
    "HIGHEST_PROTOCOL",
    "Pickler",
    "PicklingError",
    "Unpickler",
    "UnpicklingError",
    "baditems",
    "badobjects",
    "badtypes",
    "by_value_modules",
    "children",
    "copy",
    "digest",
    "dump",
    "dump_module",
    "dumps",
    "errors",
    "getsource",
    "globalvars",
    "importable",
    "load",
    "load_module",
    "load_module_asdict",
    "loads",
    "parent",
    "parents",
    "pickles",
    "register_pickle_by_value",
    "trace",
    "unregister_pickle_by_value",
]


def __getattr__(name):
    """The modules beside this one, and their functions, are imported when they are asked for: workers never do."""
    import importlib

    for module, functions in _LATER.items():
        if name == module or name in functions:
            found = importlib.import_module(f"{__name__}.{module}")
            return found if name == module else getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__, *_LATER})


def pickles(obj, exact=False, safe=True):
    """Whether `obj` survives pickling: equal (or, unless `exact`, of the same type) afterwards.

    With safe=False what is raised other than errors of pickling is raised.
    """
    try:
        found = copy(obj)
    except (PicklingError, UnpicklingError, TypeError, AttributeError):
        return False
    except Exception:
        if safe:
            return False
        raise
    try:
        same = bool(found == obj)
    except Exception:  # comparing runs the user's code; arrays have no single answer
        same = False
    return same or (not exact and type(found) is type(obj))
