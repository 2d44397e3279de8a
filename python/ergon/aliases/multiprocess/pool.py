"""``multiprocessing.pool``: its classes and their behaviour, on Ergon's pools.

Three differences, all of them where the original hangs: a worker that dies fails the tasks it had
(``ergon.errors.WorkerLost``), ``terminate()`` ends the wait of those who wait for results, and a
chunk size of 0 means an automatic one.
"""

import collections
import contextlib
import os
import threading
import warnings

import ergon
from ergon.aliases import _inherited
from ergon.errors import PicklingError as MaybeEncodingError  # noqa: F401
from ergon.errors import RemoteTraceback, TaskTimeout  # noqa: F401

from . import _lent
from .context import TimeoutError
from .context import _default_context as _default

__all__ = ["Pool", "ThreadPool"]

RUN, CLOSE, TERMINATE = "RUN", "CLOSE", "TERMINATE"


class ApplyResult:
    """The result, some day, of ``apply_async``, ``map_async`` or ``starmap_async``."""

    def __init__(self, pool, future, callback=None, error_callback=None):
        self._pool = pool  # a pool lives as long as somebody may still want a result of it
        self._future = future
        if callback is not None or error_callback is not None:
            future.add_done_callback(_Callbacks(callback, error_callback))

    def ready(self):
        """Whether the result has arrived."""
        return self._future.done()

    def successful(self):
        """Whether the call ended without an exception; ValueError while it runs."""
        if not self._future.done():
            raise ValueError(f"{self!r} not ready")
        return self._future.successful()

    def wait(self, timeout=None):
        """Wait for the result, or for `timeout` seconds."""
        self._future.wait(timeout)

    def get(self, timeout=None):
        """The result, or the exception the call ended with; TimeoutError after `timeout` seconds."""
        if timeout is not None:
            self._future.wait(timeout)
            if not self._future.done():
                raise TimeoutError
        return self._future.result()


AsyncResult = ApplyResult


class MapResult(ApplyResult):
    """The result of ``map_async`` or ``starmap_async``: a list."""


class _Callbacks:
    """What a future calls when it is done: one of two callbacks, with the result or the exception."""

    def __init__(self, callback, error_callback):
        self._callback = callback
        self._error_callback = error_callback

    def __call__(self, future):
        try:
            value = future.result()
        except BaseException as error:  # a task may raise anything, SystemExit too
            chosen, value = self._error_callback, error
        else:
            chosen = self._callback
        if chosen is not None:
            chosen(value)


class IMapIterator:
    """The results of ``imap`` and ``imap_unordered``, with `next(timeout)`.

    The tasks run whether or not the results are taken: `join` on the pool takes in what is still
    outstanding, and the iterator hands it out afterwards.
    """

    def __init__(self, pool, source):
        self._pool = pool
        self._source = source
        self._arrived = collections.deque()  # taken in by _drain: (whether it is a value, the value or the exception)
        self._turn = threading.Lock()
        self._ended = False

    def __iter__(self):
        return self

    def __next__(self):
        return self.next()

    def next(self, timeout=None):
        """The next result; multiprocess.TimeoutError if there is none within `timeout` seconds."""
        if not self._turn.acquire(timeout=-1 if timeout is None else max(timeout, 0)):
            raise TimeoutError
        try:
            if not self._arrived:
                return self._take(timeout)
            good, value = self._arrived.popleft()
        finally:
            self._turn.release()
        if good:
            return value
        raise value

    def _take(self, timeout=None):
        """One result from below; StopIteration at the end, and ever after."""
        if self._ended:
            raise StopIteration
        try:
            return self._source.next(timeout)
        except StopIteration as stop:
            if stop.value is None:  # else a task raised it
                self._ended = True
                self._pool._forget(self)
            raise
        except TaskTimeout:
            if timeout is None:
                raise
            raise TimeoutError from None

    def _drain(self):
        """Take in everything that is outstanding."""
        with self._turn:
            while not self._ended:
                try:
                    self._arrived.append((True, self._take()))
                except BaseException as error:
                    if not self._ended:
                        self._arrived.append((False, error))


IMapUnorderedIterator = IMapIterator


class Pool:
    """A pool of worker processes with the interface of ``multiprocessing.Pool``."""

    def __init__(self, processes=None, initializer=None, initargs=(), maxtasksperchild=None, context=None):
        if processes is None:
            processes = _cpu_count()
        if processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if maxtasksperchild is not None:
            if not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0:
                raise ValueError("maxtasksperchild must be a positive int or None")
        self._processes = processes
        self._state = RUN
        self._iterators = set()
        self._kept = initargs  # locks and the like last as long as who made them keeps them
        self._per_child = maxtasksperchild
        self._ergon = self._open(processes, initializer, tuple(initargs), context or _default)

    def _open(self, processes, initializer, initargs, context):
        start = None if initializer is None else ergon.dumps((initializer, initargs))
        inherited = _lent.inheritance(context)
        more = {"max_tasks": self._per_child or 0}
        return ergon.ProcessPool(processes, initializer=_inherited.enter, initargs=(inherited, start), **more)

    def __del__(self):
        if getattr(self, "_state", None) == RUN:
            text = f"unclosed running multiprocessing pool {self!r}"
            warnings.warn(text, ResourceWarning, source=self)

    @property
    def _pool(self):
        """What programs look at to learn about the workers: those that are up, which all are after a while."""
        if self._state == RUN:
            self._ergon._wait_up(self._processes, 30.0)
        return [Worker(one) for one in self._ergon._workers() if one["state"] != "leaving"]

    def __repr__(self):
        return f"<{type(self).__module__}.{type(self).__qualname__} state={self._state} pool_size={self._processes}>"

    def __reduce__(self):
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")

    def __enter__(self):
        self._running()
        return self

    def __exit__(self, *exc_info):
        self.terminate()

    # Calls

    def apply(self, func, args=(), kwds={}):
        """Call `func(*args, **kwds)` in a worker and wait for its result."""
        return self._running().pipe(func, *args, **kwds)

    def apply_async(self, func, args=(), kwds={}, callback=None, error_callback=None):
        """Call `func(*args, **kwds)` in a worker; an AsyncResult."""
        return ApplyResult(self, self._running().apipe(func, *args, **kwds), callback, error_callback)

    def map(self, func, iterable, chunksize=None):
        """Call `func` on every item; the list of the results."""
        return self._map(func, (iterable,), chunksize)

    def map_async(self, func, iterable, chunksize=None, callback=None, error_callback=None):
        """Call `func` on every item; an AsyncResult of the list."""
        return self._amap(func, (iterable,), chunksize, callback, error_callback)

    def imap(self, func, iterable, chunksize=1):
        """Call `func` on every item; an iterator of the results in order."""
        return self._imap(func, (iterable,), chunksize)

    def imap_unordered(self, func, iterable, chunksize=1):
        """Call `func` on every item; an iterator of the results as they arrive."""
        return self._uimap(func, (iterable,), chunksize)

    def starmap(self, func, iterable, chunksize=None):
        """Call `func(*item)` for every item; the list of the results."""
        return self._map(_Star(func), (iterable,), chunksize)

    def starmap_async(self, func, iterable, chunksize=None, callback=None, error_callback=None):
        """Call `func(*item)` for every item; an AsyncResult of the list."""
        return self._amap(_Star(func), (iterable,), chunksize, callback, error_callback)

    # The same over any number of iterables, for pathos

    def _map(self, func, iterables, chunksize=None):
        return self._running().map(func, *iterables, **self._chunks(chunksize, iterables))

    def _amap(self, func, iterables, chunksize=None, callback=None, error_callback=None):
        future = self._running().amap(func, *iterables, **self._chunks(chunksize, iterables))
        return MapResult(self, future, callback, error_callback)

    def _chunks(self, chunksize, iterables):
        if chunksize is None and self._per_child:  # a child's tasks are chunks, and they are counted: as many as ever
            sizes = [len(iterable) for iterable in iterables if hasattr(iterable, "__len__")]
            if sizes:
                chunksize = max(1, -(-min(sizes) // (self._processes * 4)))
        return _chunks(chunksize, 0)

    def _imap(self, func, iterables, chunksize=1):
        return self._watched(self._running().imap, func, iterables, chunksize)

    def _uimap(self, func, iterables, chunksize=1):
        return self._watched(self._running().uimap, func, iterables, chunksize)

    def _watched(self, method, func, iterables, chunksize):
        iterator = IMapIterator(self, method(func, *iterables, **_chunks(chunksize, 1)))
        self._iterators.add(iterator)
        return iterator

    def _forget(self, iterator):
        self._iterators.discard(iterator)
        self._let_go()

    # Life

    def _running(self):
        if self._state != RUN:
            raise ValueError("Pool not running")
        return self._ergon

    def close(self):
        """Take no more calls; those that were made are finished."""
        if self._state == RUN:
            self._state = CLOSE
            self._let_go()

    def _let_go(self):
        """Close the pool below, once no iterator has calls left to make."""
        if self._state == CLOSE and not self._iterators:
            self._ergon.close()

    def terminate(self):
        """End the workers at once, whatever they are doing."""
        if self._state != TERMINATE and _lent.used:
            self._leave_orderly()
        self._state = TERMINATE
        self._ergon.terminate()

    def _leave_orderly(self):
        """Workers that do nothing leave by themselves: what they put into a queue arrives, and no lock stays held."""
        if self._iterators or any(worker["state"] == "busy" for worker in self._ergon._workers()):
            return
        self._ergon.close()
        with contextlib.suppress(TaskTimeout):
            self._ergon.join(1)

    def join(self):
        """Wait for the workers to end; ValueError while the pool is open."""
        if self._state == RUN:
            raise ValueError("Pool is still running")
        if self._state == CLOSE:
            for iterator in list(self._iterators):
                iterator._drain()
        self._ergon.join()


class Worker:
    """A worker as it was when it was asked for: `pid` and `name`."""

    def __init__(self, known):
        self.pid = self.ident = known["pid"]
        self.name = f"PoolWorker-{known['number'] - 1}"
        self.daemon, self.exitcode = True, None

    def is_alive(self):
        """Whether the process is there, or about to come."""
        return os.path.exists(f"/proc/{self.pid or os.getpid()}")

    def __repr__(self):
        return f"<{self.name} pid={self.pid}>"


class ThreadPool(Pool):
    """A pool of threads with the interface of ``multiprocessing.pool.ThreadPool``."""

    def __init__(self, processes=None, initializer=None, initargs=()):
        super().__init__(processes, initializer, initargs)

    def _open(self, processes, initializer, initargs, context):
        options = {} if initializer is None else {"initializer": initializer, "initargs": initargs}
        return ergon.ThreadPool(processes, **options)


class _Star:
    """A function of one argument that calls another with that argument spread out."""

    def __init__(self, func):
        self._func = func

    def __call__(self, args):
        return self._func(*args)


def _chunks(chunksize, automatic):
    """The chunk size as a keyword for Ergon; `automatic` is the value that stands for no wish."""
    if chunksize is None or chunksize == automatic:
        return {}
    if chunksize < 1:
        raise ValueError(f"Chunksize must be 1+, not {chunksize:n}")
    return {"chunksize": chunksize}


def _cpu_count():
    return os.cpu_count() or 1
