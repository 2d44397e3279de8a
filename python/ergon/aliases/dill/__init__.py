"""The interface of dill on Ergon's serializer: the main functions, and source code of objects."""

from ergon import copy, dump, dumps, load, loads
from ergon.aliases._legal import LICENSE as __license__  # noqa: F401
from ergon.aliases._legal import citation, license  # noqa: F401
from ergon.errors import PicklingError, UnpicklingError

from . import _dill, source

__all__ = [
    "copy",
    "dump",
    "dumps",
    "load",
    "loads",
    "PicklingError",
    "UnpicklingError",
    "source",
    "license",
    "citation",
]
__version__ = "0.4.1"
__author__ = "the Ergon developers"
