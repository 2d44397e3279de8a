"""Pools of processes."""

from ._shared import SharedPool
from .helpers import ProcessPool as _ProcessPool
from .helpers import ThreadPool, cpu_count, freeze_support

__all__ = ["ProcessPool", "_ProcessPool"]

Pool = _ProcessPool

__STATE = _ProcessPool__STATE = {}


class ProcessPool(SharedPool):
    """A pool of worker processes.

    >>> pool = ProcessPool(nodes=4)
    >>> pool.map(pow, [1, 2, 3, 4], [5, 6, 7, 8])
    [1, 64, 2187, 65536]
    """

    _size_names = ("ncpus", "nodes", "processes")
    _server = _ProcessPool
    __state__ = __STATE
    __nodes = ncpus = SharedPool.nodes


from .threading import ThreadPool as ThreadingPool  # noqa: E402

ProcessingPool = ProcessPool
