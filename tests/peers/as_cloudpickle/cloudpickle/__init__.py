"""ergon.pickle under the name of cloudpickle: what cloudpickle's own tests import."""

from ergon.pickle import HIGHEST_PROTOCOL as DEFAULT_PROTOCOL
from ergon.pickle import Pickler, dump, dumps, load, loads, register_pickle_by_value, unregister_pickle_by_value
from ergon.pickle import Pickler as CloudPickler
from ergon.pickle import by_value_modules as list_registry_pickle_by_value

__all__ = [
    "DEFAULT_PROTOCOL",
    "CloudPickler",
    "Pickler",
    "dump",
    "dumps",
    "list_registry_pickle_by_value",
    "load",
    "loads",
    "register_pickle_by_value",
    "unregister_pickle_by_value",
]
