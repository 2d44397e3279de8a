"""Maps as objects: each opens its pool when it is called."""

import itertools


class Map:
    """``Map(pool, *args, **kwds)(f, *iterables)`` opens ``pool(*args, **kwds)`` and calls its `map`.

    Without a pool it is Python's own `map`, as a list. `close`, `join` and `clear` say what is done with
    the pool after each call; by default nothing, until the map itself is deleted.
    """

    _methods = ("map",)

    def __init__(self, pool=None, *args, close=None, join=None, clear=False, **kwds):
        self._clear = clear
        self._join = clear if join is None else join
        self._close = self._join if close is None else close
        self.pool = None if pool is map else pool
        self.args = args
        self.kwds = kwds
        self._pool = None

    def __call__(self, func, *args, **kwds):
        """Call `func` on the items of the iterables; keywords are the pool's."""
        if self.pool is None:
            return self._serial(func, *args)
        self._pool = pool = self.pool(*self.args, **self.kwds)
        for name in self._methods:
            if hasattr(pool, name):
                result = getattr(pool, name)(func, *args, **kwds)
                break
        else:
            result = self._without(pool, func, *args, **kwds)
        if self._close:
            self.close()
        if self._join:
            self.join()
        if self._clear:
            self.clear()
        return result

    def _serial(self, func, *args):
        return list(map(func, *args))

    def _without(self, pool, func, *args, **kwds):
        """What to do on a pool that has none of `_methods`."""
        return NotImplemented

    @property
    def __self__(self):
        return self

    @property
    def __func__(self):
        return type(self).__call__

    def _tell(self, method):
        if hasattr(self._pool, method):
            getattr(self._pool, method)()

    def close(self):
        """Close the pool to new calls."""
        self._tell("close")

    def join(self):
        """Wait for the workers of the closed pool to end."""
        self._tell("join")

    def clear(self):
        """Forget the pool's shared workers, if it has such."""
        self._tell("clear")

    def __del__(self):
        try:
            self.close()
            self.join()
            self.clear()
        except Exception:
            pass  # the interpreter may be ending, the pool may be gone
        self._pool = None


class Smap(Map):
    """As `Map`, with `starmap`: the items are sequences of arguments."""

    _methods = ("smap", "starmap")

    def _serial(self, func, *args):
        return list(itertools.starmap(func, *args))

    def _without(self, pool, func, *args, **kwds):
        return pool.map(_Starred(func), *args, **kwds)


class Imap(Map):
    """As `Map`, with an iterator of the results."""

    _methods = ("imap",)

    def _serial(self, func, *args):
        return map(func, *args)


class Amap(Map):
    """As `Map`, with an object whose `get()` is the list of results; needs a pool."""

    _methods = ("amap", "map_async")

    def _serial(self, func, *args):
        return NotImplemented


class Asmap(Amap):
    """`Smap` and `Amap` at once; needs a pool."""

    _methods = ("asmap", "starmap_async")

    def _without(self, pool, func, *args, **kwds):
        return pool.amap(_Starred(func), *args, **kwds)


class Uimap(Amap):
    """As `Imap`, in the order in which results arrive; needs a pool."""

    _methods = ("uimap", "imap_unordered")


class Ismap(Map):
    """`Smap` and `Imap` at once."""

    _methods = ("ismap",)

    def _serial(self, func, *args):
        return itertools.starmap(func, *args)

    def _without(self, pool, func, *args, **kwds):
        return pool.imap(_Starred(func), *args, **kwds)


class _Starred:
    """A function of one argument, a sequence, that calls another with its items."""

    def __init__(self, func):
        self._func = func

    def __call__(self, args):
        return self._func(*args)
