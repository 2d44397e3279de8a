"""The interface of dill on Ergon: serialization of all of Python, with dill's rules and dill's streams."""

from ergon.aliases._legal import citation, license  # noqa: F401

from . import _dill, detect, logger, pointers, source, temp
from .__info__ import __author__, __license__, __version__  # noqa: F401
from ._dill import (
    CONTENTS_FMODE,
    DEFAULT_PROTOCOL,
    FILE_FMODE,
    HANDLE_FMODE,
    HIGHEST_PROTOCOL,
    PickleError,
    Pickler,
    PickleWarning,
    PicklingError,
    PicklingWarning,
    Unpickler,
    UnpicklingError,
    UnpicklingWarning,
    check,
    copy,
    dump,
    dumps,
    load,
    loads,
    pickle,
    pickles,
    register,
)
from .session import dump_module, dump_session, load_module, load_module_asdict, load_session
from .settings import settings

objects = {}

from . import objtypes as types  # noqa: E402


def load_types(pickleable=True, unpickleable=True):
    """Fills `objects` with an example of each type, and `types` with the types: those that can be pickled, or cannot."""
    from importlib import reload

    from . import _objects

    for wanted, found in ((pickleable, _objects.succeeds), (unpickleable, _objects.failures)):
        if wanted:
            objects.update(found)
        else:
            for name in found:
                objects.pop(name, None)
    objects.update(_objects.registered)
    for name in [name for name in vars(types) if "Type" in name]:
        delattr(types, name)
    reload(types)


def extend(use_dill=True):
    """Adds dill's types to (or, with False, takes them out of) the standard library's Python pickler."""
    _dill._extend() if use_dill else _dill._revert_extension()


extend()
