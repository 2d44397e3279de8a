"""A pool without workers: calls happen here, one after another."""

from .abstract_launcher import AbstractWorkerPool

__all__ = ["SerialPool"]

__STATE = _SerialPool__STATE = {}

_map = map


class SerialPool(AbstractWorkerPool):
    """The interface of the pools on Python's own `map`.

    >>> pool = SerialPool()
    >>> list(pool.map(pow, [1, 2, 3, 4], [5, 6, 7, 8]))
    [1, 64, 2187, 65536]
    """

    _exiting = False
    __state__ = __STATE

    def map(self, f, *args, **kwds):
        """Call `f` on the items of one or more iterables; an iterator, as Python's `map` is one."""
        self._running()
        return _map(f, *args)

    imap = map

    def pipe(self, f, *args, **kwds):
        self._running()
        return f(*args, **kwds)

    pipe.__doc__ = AbstractWorkerPool.pipe.__doc__

    def _running(self):
        if self._exiting:
            raise ValueError("Pool not running")

    def restart(self, force=False):
        """Open a closed pool again; an open one only with `force`."""
        assert force or self._exiting, "the pool is running"
        self._exiting = False

    def close(self):
        """Take no more calls."""
        self._exiting = True

    terminate = close

    def join(self):
        """Nothing to wait for; AssertionError while the pool is open."""
        assert self._exiting, "the pool is running"

    def clear(self):
        """Open the pool again."""
        self._exiting = False

    nodes = property(
        AbstractWorkerPool._AbstractWorkerPool__get_nodes, AbstractWorkerPool._AbstractWorkerPool__set_nodes
    )


PythonSerial = SerialPool
