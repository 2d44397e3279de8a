"""Serialization of all of Python: standard pickle streams, written and read in C.

What a process elsewhere can import travels by reference; functions and classes of ``__main__``, lambdas,
closures and nested classes travel by value, with the globals they refer to. The streams are ordinary pickle
protocol 5: ``pickle.loads`` reads them wherever ergon is installed.
"""

from ._core import (
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
from .errors import PicklingError, UnpicklingError

HIGHEST_PROTOCOL = DEFAULT_PROTOCOL = 5

__all__ = [
    "DEFAULT_PROTOCOL",
    "HIGHEST_PROTOCOL",
    "Pickler",
    "PicklingError",
    "Unpickler",
    "UnpicklingError",
    "by_value_modules",
    "copy",
    "digest",
    "dump",
    "dumps",
    "load",
    "loads",
    "register_pickle_by_value",
    "unregister_pickle_by_value",
]
