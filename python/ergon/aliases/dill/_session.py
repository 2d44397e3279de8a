"""How session.py's states are written and read: as a pickle of the module object, with its namespace as its state."""

import pickletools

from . import _save
from ._dill import Pickler, Unpickler, settings


def save(file, saved, main, **kwds):
    protocol = kwds.pop("protocol", settings["protocol"])
    pickler = Pickler(file, protocol, byref=False, recurse=False, **kwds)
    pickler._main, pickler._original_main, pickler._session = saved, main, True
    pickler._session_name = main.__name__ if _save._is_imported_module(main) else f"__runtime__.{main.__name__}"
    pickler.dump(saved)


def identify(file):
    """(name of the module, whether it has to be made); reads nothing away."""
    at, called = file.tell(), False
    try:
        for opcode, argument, _ in pickletools.genops(file):
            if called and "UNICODE" in opcode.name:
                runtime, _, name = argument.rpartition("__runtime__.")
                return name, argument.startswith("__runtime__.")
            if isinstance(argument, str) and argument.split(" ")[-1] == "_import_module":
                called = True
            elif opcode.name in ("REDUCE", "STOP"):
                break
    finally:
        file.seek(at)
    raise ValueError("this is not the state of a module")


class _Loader(Unpickler):
    """The module the stream begins with is the one its state goes into."""

    def find_class(self, module, name):
        found = super().find_class(module, name)
        if name != "_import_module":
            return found
        target = self._main

        def _import_module(import_name, safe=False):
            if import_name.removeprefix("__runtime__.") == target.__name__:
                return target
            return found(import_name, safe)

        return _import_module


def load(file, target, **kwds):
    loader = _Loader(file, ignore=True, **kwds)
    loader._main, loader._session = target, True
    loader.load()
