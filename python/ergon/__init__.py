"""Parallel Python on a C engine: pools over threads, processes and hosts, and schedules of sequential code."""

from . import _core, errors
from ._core import copy, dump, dumps, load, loads
from ._core import version as _version

__version__ = _version()

__all__ = [
    "Future",
    "Pool",
    "ProcessPool",
    "RemotePool",
    "SerialPool",
    "ThreadPool",
    "config",
    "configure",
    "copy",
    "dump",
    "dumps",
    "errors",
    "functional",
    "hosts",
    "load",
    "loads",
    "pickle",
    "profile",
    "progress",
    "schedule",
    "shutdown",
    "ssh",
    "trace",
]

_LATER = frozenset(
    {"config", "hosts", "pickle", "profile", "progress", "ssh", "trace"}
)  # modules of the facade that are imported when first used


_POOLS = frozenset({"Future", "Pool", "ProcessPool", "RemotePool", "SerialPool", "ThreadPool"})


def shutdown():
    """Ends every pool of this process, that of functionals too, and its workers. Happens by itself at exit.

    Tasks not done are cancelled. New pools can be opened afterwards.
    """
    import sys

    if (scheduling := sys.modules.get(f"{__name__}._schedule")) is not None:
        scheduling._end()
    _core.shutdown()


_SCHEDULE = frozenset({"configure", "functional", "schedule"})


def __getattr__(name):
    import importlib

    if name in _POOLS:
        value = globals()[name] = getattr(importlib.import_module(f"{__name__}.pool"), name)
        return value
    if name in _SCHEDULE:
        value = globals()[name] = getattr(importlib.import_module(f"{__name__}._schedule"), name)
        return value
    if name in _LATER:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _record_from_the_start():
    import os

    if "ERGON_TRACE" in os.environ:  # ergon run --trace
        from .trace import autostart

        autostart()


_record_from_the_start()
