"""How the standard library's pickle finds functions and classes of the program's main module in a worker.

They come by value, and the worker's own ``__main__`` has none of them. Whoever looks for one there gets the newest that came and
is still in use: pickle in a task, and the children that ``multiprocessing`` forks from it.
"""

import sys

from . import _core

__all__ = ["install"]

_names: dict = {}  # qualified name -> weak reference


def install():
    _core._note_main(_names)
    sys.modules["__main__"].__getattr__ = _find


def _find(name):
    ref = _names.get(name)
    found = ref and ref()
    if found is not None:
        return found
    if not name.startswith("__"):
        within = name + "."
        if any(key.startswith(within) and ref() is not None for key, ref in list(_names.items())):
            return _Outer(name)
    raise AttributeError(f"module '__main__' has no attribute {name!r}")


class _Outer:
    """In the place of a class that did not come, of which an inner one did."""

    def __init__(self, name):
        self._name = name

    def __getattr__(self, name):
        return _find(f"{self._name}.{name}")
