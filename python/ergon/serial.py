"""SerialPool: the methods of a pool, run by the caller. For debugging, and where parallelism is an option."""

import itertools

from . import _core
from ._methods import Methods, check_opening
from .errors import PoolClosed

__all__ = ["SerialPool"]

_OPTIONS = {"chunksize", "timeout", "retries", "readonly", "pure", "progress", "resources", "stage_in", "stage_out"}
_COUNTS = (
    *("workers_started", "workers_lost", "workers_up"),
    *("tasks_lost", "tasks_retried", "tasks_interrupted", "memory_bytes"),
)


def _settled(call):
    """A Future, done, of what call() gives or raises."""
    try:
        return _core._settled(call(), None)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        return _core._settled(None, error)


def _value(argument):
    if isinstance(argument, _core.Future):
        return argument.result()
    if type(argument) in (list, tuple) and any(isinstance(a, _core.Future) for a in argument):
        return type(argument)(map(_value, argument))
    return argument


class _Results:
    """The iterator of imap: calls f for the next items when the next result is asked for."""

    _bar = None

    def __init__(self, f, iterables, bar):
        self._map = map(f, *iterables)
        self._bar = bar
        self._done = 0

    def __iter__(self):
        return self

    def __next__(self):
        try:
            value = next(self._map)
        except StopIteration:
            self._close(True)
            raise
        except BaseException:
            self._count()
            raise
        self._count()
        return value

    def next(self, timeout=None):
        """The next result; there is nobody to wait for, so ``timeout`` means nothing."""
        return next(self)

    def rest(self):
        """All results that are left."""
        return list(self if self._bar else self._map)

    def _count(self):
        self._done += 1
        if self._bar is not None:
            self._bar.update(self._done)

    def _close(self, ok):
        if self._bar is not None:
            self._bar.close(ok)
            self._bar = None

    def __del__(self):
        self._close(False)


class SerialPool(Methods):
    """A pool whose calls the caller makes itself, one after another; same methods and results as the others.

    imap calls f when a result is asked for. Options are checked and have no effect, but for progress; a call cannot be
    given a timeout, since nobody could interrupt it. initializer(*initargs) is called at once. What else pools of workers
    take when they are opened (n, max_tasks, stop_limit, grace, require, stage_in, stage_out, lineage) is accepted and means nothing.
    """

    processes = threads = 0
    nodes = 1

    def __init__(
        self,
        n=1,
        *,
        initializer=None,
        initargs=(),
        max_tasks=0,
        stop_limit=30.0,
        grace=1.0,
        require="first",
        stage_in=None,
        stage_out=None,
        lineage=None,
    ):
        check_opening(initializer, max_tasks, require, lineage)
        if stage_in is not None or stage_out is not None:
            _core._check_options(stage_in=stage_in, stage_out=stage_out)
        self._state = {"closed": False}  # of the pool and all its views
        self._set = {}
        if initializer is not None:
            initializer(*initargs)

    def _checked(self, options):
        """These options and those of the view."""
        if unknown := set(options) - _OPTIONS:
            known = ", ".join(sorted(_OPTIONS))
            raise TypeError(f"unknown option {sorted(unknown)[0]!r}: the pool's options are {known}")
        _core._check_options(**{k: v for k, v in options.items() if k != "progress"})
        return {**self._set, **options}

    def _check(self, options, f):
        options = self._checked(options)
        if not callable(f):
            raise TypeError(f"{type(f).__name__!r} object is not callable")
        if self.closed:
            raise PoolClosed("the pool is closed and takes no more tasks: restart() it or open a new one")
        return options

    def imap(self, f, /, *iterables, **options):
        """An iterator over ``f(*items)``, called as the results are asked for."""
        options = self._check(options, f)
        if not iterables:
            raise TypeError("imap() takes a function and at least one iterable")
        bar = None
        if options.get("progress"):
            from .progress import make

            sizes = [len(i) for i in iterables if hasattr(i, "__len__")]
            bar = make(options["progress"], min(sizes) if sizes else None)
        return _Results(f, iterables, bar)

    uimap = imap

    def map(self, f, /, *iterables, **options):
        """The list ``[f(*items) for items in zip(*iterables)]``."""
        results = self.imap(f, *iterables, **options)
        return results.rest()

    def starmap(self, f, iterable, /, **options):
        """The list ``[f(*args) for args in iterable]``."""
        self._check(options, f)
        if options.get("progress", self._set.get("progress")):
            return self.map(lambda args: f(*args), iterable, **options)
        return list(itertools.starmap(f, iterable))

    def amap(self, f, /, *iterables, **options):
        """A Future, done, of what `map` returns."""
        return _settled(self.imap(f, *iterables, **options).rest)

    def pipe(self, f, /, *args, **kwds):
        """``f(*args, **kwds)``."""
        self._check({}, f)
        values = tuple(
            map(_value, args)
        )  # not in the call: CPython 3.11 loses the keywords' dict when this raises there
        return f(*values, **{k: _value(v) for k, v in kwds.items()})

    def apipe(self, f, /, *args, **kwds):
        """A Future, done, of ``f(*args, **kwds)``."""
        self._check({}, f)
        return _settled(lambda: self.pipe(f, *args, **kwds))

    def submit(self, f, /, *args, after=(), resources=None, retries=0, timeout=None, **kwds):
        """A Future, done, of ``f(*args, **kwds)``; failed when one among the arguments or in ``after`` has failed."""
        self._check({"resources": resources, "retries": retries, "timeout": timeout}, f)
        before = [after] if isinstance(after, _core.Future) else list(after or ())
        for future in before:
            if not isinstance(future, _core.Future):
                raise TypeError(f"after= takes Futures, not {type(future).__name__}")

        def call():
            for future in before:
                future.result()
            return self.pipe(f, *args, **kwds)

        return _settled(call)

    def put(self, obj):
        """obj itself: nothing has to travel."""
        return obj

    def options(self, /, **options):
        """The same pool with options set for every call through it."""
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__, _set=self._checked(options))
        return view

    def close(self):
        """No more calls until restart()."""
        self._state["closed"] = True

    terminate = close

    def join(self, timeout=None):
        """Nothing to wait for. ValueError while the pool is open."""
        if not self.closed:
            raise ValueError("the pool is still open: close() or terminate() it before join()")

    def restart(self):
        """Takes calls again."""
        self._state["closed"] = False

    clear = restart

    @property
    def closed(self):
        """Whether it takes no more calls."""
        return self._state["closed"]

    @property
    def stats(self):
        """What `Pool.stats` has, of no workers."""
        return {"workers": [], "hosts": [], **dict.fromkeys(_COUNTS, 0), "first_up_s": 0.0}

    def __repr__(self):
        return f"<ergon.SerialPool {'closed' if self.closed else 'open'}>"
