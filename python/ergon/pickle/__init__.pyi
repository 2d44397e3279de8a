from typing import Any

from .._core import Pickler as Pickler
from .._core import Unpickler as Unpickler
from .._core import by_value_modules as by_value_modules
from .._core import copy as copy
from .._core import digest as digest
from .._core import dump as dump
from .._core import dumps as dumps
from .._core import load as load
from .._core import loads as loads
from .._core import register_pickle_by_value as register_pickle_by_value
from .._core import unregister_pickle_by_value as unregister_pickle_by_value
from ..errors import PicklingError as PicklingError
from ..errors import UnpicklingError as UnpicklingError
from ._trace import trace as trace
from .detect import baditems as baditems
from .detect import badobjects as badobjects
from .detect import badtypes as badtypes
from .detect import errors as errors
from .detect import globalvars as globalvars
from .pointers import children as children
from .pointers import parent as parent
from .pointers import parents as parents
from .session import dump_module as dump_module
from .session import load_module as load_module
from .session import load_module_asdict as load_module_asdict
from .source import getsource as getsource
from .source import importable as importable

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

HIGHEST_PROTOCOL: int
DEFAULT_PROTOCOL: int

def pickles(obj: Any, exact: bool = False, safe: bool = True) -> bool: ...
