"""Parallel Python on a C engine: pools over threads, processes and hosts, and schedules of sequential code."""

from . import errors
from ._core import version as _version

__version__ = _version()

__all__ = ["errors"]

_LATER = frozenset({"profile", "progress", "trace"})  # modules of the facade that are imported when first used


def __getattr__(name):
    if name in _LATER:
        import importlib

        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
