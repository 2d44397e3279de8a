"""Pools of threads."""

from ._shared import SharedPool
from .helpers import ThreadPool as _ThreadPool
from .helpers import cpu_count

__all__ = ["ThreadPool", "_ThreadPool"]

__STATE = _ThreadPool__STATE = {}


class ThreadPool(SharedPool):
    """A pool of worker threads.

    >>> pool = ThreadPool(nodes=4)
    >>> pool.map(pow, [1, 2, 3, 4], [5, 6, 7, 8])
    [1, 64, 2187, 65536]
    """

    _size_names = ("nthreads", "nodes", "processes")
    _server = staticmethod(_ThreadPool)
    __state__ = __STATE
    __nodes = nthreads = SharedPool.nodes
