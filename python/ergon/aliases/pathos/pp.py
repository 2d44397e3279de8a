"""The older name of `pathos.parallel`."""
from .parallel import __doc__, ParallelPool, stats  # noqa: F401
from .parallel import _ParallelPool__STATE as __STATE  # noqa: F401
from .parallel import __print_stats  # noqa: F401

__all__ = ["ParallelPythonPool", "stats"]

ParallelPythonPool = ParallelPool
