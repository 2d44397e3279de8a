"""The older name of `pathos.parallel`."""

from .parallel import (  # noqa: F401
    ParallelPool,
    __doc__,
    __print_stats,  # noqa: F401
    stats,
)
from .parallel import _ParallelPool__STATE as __STATE  # noqa: F401

__all__ = ["ParallelPythonPool", "stats"]

ParallelPythonPool = ParallelPool
