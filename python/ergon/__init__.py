"""Parallel Python on a C engine: pools over threads, processes and hosts, and schedules of sequential code."""

from . import errors
from ._core import version as _version

__version__ = _version()

__all__ = ["errors"]
