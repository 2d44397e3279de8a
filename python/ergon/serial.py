"""SerialPool: the methods of a pool, run by the caller. For debugging, and where parallelism is an option."""

import itertools

from ._methods import Methods
from .errors import PoolClosed

__all__ = ["SerialPool"]

_OPTIONS = {"chunksize", "timeout", "retries", "readonly", "progress", "resources"}


class _Done:
    """A future that is done: the outcome of a call that has been made."""

    def __init__(self, call):
        self._error = self._value = None
        try:
            self._value = call()
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            self._error = error

    def result(self, timeout=None):
        """The call's result; raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._value

    get = result

    def exception(self, timeout=None):
        """What the call raised, or None."""
        return self._error

    def done(self):
        """Always True."""
        return True

    ready = done

    def successful(self):
        """Whether the call returned."""
        return self._error is None

    def wait(self, timeout=None):
        """Returns at once."""

    def running(self):
        """Always False."""
        return False

    def cancel(self):
        """Always False: the call has been made."""
        return False

    cancelled = running

    def add_done_callback(self, callback):
        """Calls ``callback(self)`` at once."""
        callback(self)

    def __await__(self):
        return self.result()
        yield


def _value(argument):
    return argument.result() if isinstance(argument, _Done) else argument


class SerialPool(Methods):
    """A pool whose calls the caller makes itself, one after another; same methods and results as the others."""

    processes = threads = 0
    nodes = 1

    def __init__(self, *ignored, **keywords):
        self._closed = False
        self._options = {}

    def _check(self, options):
        if unknown := set(options) - _OPTIONS:
            raise TypeError(
                f"unknown option {sorted(unknown)[0]!r}: the pool's options are {', '.join(sorted(_OPTIONS))}"
            )
        if self._closed:
            raise PoolClosed("the pool is closed and takes no more tasks: restart() it or open a new one")
        return {**self._options, **options}

    def imap(self, f, /, *iterables, **options):
        """An iterator over ``f(*items)``, made as it is consumed."""
        options = self._check(options)
        if not iterables:
            raise TypeError("imap() takes a function and at least one iterable")
        return self._run(f, iterables, options)

    @staticmethod
    def _run(f, iterables, options):
        if not options.get("progress"):
            yield from map(f, *iterables)
            return
        from .progress import make

        sizes = [len(i) for i in iterables if hasattr(i, "__len__")]
        bar, ok, n = make(options["progress"], min(sizes) if sizes else None), False, 0
        try:
            for n, value in enumerate(map(f, *iterables), 1):
                bar.update(n)
                yield value
            ok = True
        finally:
            bar.close(ok)

    uimap = imap

    def map(self, f, /, *iterables, **options):
        """The list ``[f(*items) for items in zip(*iterables)]``."""
        return list(self.imap(f, *iterables, **options))

    def starmap(self, f, iterable, /, **options):
        """The list ``[f(*args) for args in iterable]``."""
        self._check(options)
        return list(itertools.starmap(f, iterable))

    def amap(self, f, /, *iterables, **options):
        """A future, already done, of what `map` returns."""
        self._check(options)
        return _Done(lambda: self.map(f, *iterables, **options))

    def pipe(self, f, /, *args, **kwds):
        """``f(*args, **kwds)``."""
        self._check({})
        return f(*map(_value, args), **{k: _value(v) for k, v in kwds.items()})

    def apipe(self, f, /, *args, **kwds):
        """A future, already done, of ``f(*args, **kwds)``."""
        self._check({})
        return _Done(lambda: self.pipe(f, *args, **kwds))

    def submit(self, f, /, *args, after=(), resources=None, retries=0, timeout=None, **kwds):
        """A future, already done, of ``f(*args, **kwds)``; futures among the arguments stand for their results."""
        return self.apipe(f, *args, **kwds)

    def put(self, obj):
        """obj itself: nothing has to travel."""
        return obj

    def options(self, **options):
        """The same pool with options set for every call through it."""
        view = SerialPool()
        view._options = self._check(options)
        return view

    def close(self):
        """No more calls until restart()."""
        self._closed = True

    terminate = close

    def join(self, timeout=None):
        """Nothing to wait for. ValueError while the pool is open."""
        if not self._closed:
            raise ValueError("the pool is still open: close() or terminate() it before join()")

    def restart(self):
        """Takes calls again."""
        self._closed = False

    clear = restart

    @property
    def closed(self):
        """Whether it takes no more calls."""
        return self._closed

    @property
    def stats(self):
        """Empty: there are no workers."""
        return {"workers": []}

    def __repr__(self):
        return f"<ergon.SerialPool {'closed' if self._closed else 'open'}>"
