"""Pools that are handles: all with one `id` share one server, kept in a registry of the class.

So `close()` through one handle closes it for all, also for handles made later, until `clear()` or
`restart()`. The server is a pool of the `multiprocess` package.
"""

from multiprocess import cpu_count

from .abstract_launcher import AbstractWorkerPool


def pool_size(names, args, kwds):
    """Take the number of workers out of the arguments of a pool: the first positional one or one of `names`."""
    given = list(args[:1])
    for name in names:
        if name in kwds:
            given.append(kwds.pop(name))
            if len(given) > 1:
                raise TypeError(f"got multiple values for keyword argument {name!r}")
    return given[0] if given else None


class SharedPool(AbstractWorkerPool):
    """What `ProcessPool` and `ThreadPool` have in common; a derived class has `_server` and `__state__`."""

    _size_names = ()

    def __init__(self, *args, **kwds):
        """The number of workers (default: every processor), and:

        id          - the key under which the workers are shared (default: their number)
        initializer - a function called in each worker when it starts
        initargs    - its arguments
        """
        size = pool_size(self._size_names, args, kwds)
        self._size = cpu_count() if size is None else size
        self._id = kwds.pop("id", None)
        if self._id is None:
            self._id = self._size
        self._kwds = kwds
        self._serve()

    def __repr__(self):
        return f"<pool {type(self).__name__}({self._size_names[0]}={self.nodes})>"

    def _serve(self, nodes=None):
        """The server behind this pool: the one registered under its id, if it has the same size and options."""
        nodes = self._size if nodes is None else nodes
        server = self.__state__.get(self._id)
        if server is None or nodes != server._nodes or self._kwds != server._kwds:
            self.clear()
            server = self._launch(nodes)
        return server

    def _launch(self, nodes):
        server = self._server(nodes, **self._kwds)
        server._nodes, server._kwds = nodes, self._kwds
        self.__state__[self._id] = server
        return server

    def _mine(self, same_options=False):
        """The registered server, if it is as this handle describes it."""
        server = self.__state__.get(self._id)
        if server is None or server._nodes != self._size:
            return None
        return None if same_options and server._kwds != self._kwds else server

    # Calls

    def map(self, f, *args, **kwds):
        self._AbstractWorkerPool__map(f, *args)
        return self._serve()._map(f, args, **kwds)

    def imap(self, f, *args, **kwds):
        self._AbstractWorkerPool__imap(f, *args)
        return self._serve()._imap(f, args, **kwds)

    def uimap(self, f, *args, **kwds):
        self._AbstractWorkerPool__imap(f, *args)
        return self._serve()._uimap(f, args, **kwds)

    def amap(self, f, *args, **kwds):
        self._AbstractWorkerPool__map(f, *args)
        return self._serve()._amap(f, args, **kwds)

    def pipe(self, f, *args, **kwds):
        return self._serve().apply(f, args, kwds)

    def apipe(self, f, *args, **kwds):
        return self._serve().apply_async(f, args, kwds)

    for _method in (map, imap, uimap, amap, pipe, apipe):
        _method.__doc__ = getattr(AbstractWorkerPool, _method.__name__).__doc__
    del _method

    # Life

    def clear(self):
        """Finish what runs, end the workers, forget them; the next call starts new ones."""
        server = self._mine(same_options=True)
        if server is not None:
            server.close()
            server.join()
            self.__state__.pop(self._id, None)

    _clear = clear

    def restart(self, force=False):
        """Put new workers in the place of closed ones; nothing if there are none."""
        server = self._mine(same_options=True)
        if server is None:
            return self.__state__.get(self._id)
        self.clear()
        return self._launch(self._size)

    def close(self):
        """Take no more calls; those that were made are finished."""
        server = self._mine()
        if server is not None:
            server.close()

    def terminate(self):
        """End the workers at once."""
        server = self._mine()
        if server is not None:
            server.terminate()

    def join(self):
        """Wait for the workers of a closed pool to end; ValueError while it is open."""
        server = self._mine()
        if server is not None:
            server.join()

    def __get_nodes(self):
        """the number of workers"""
        return self._size

    def __set_nodes(self, nodes):
        self._serve(nodes)
        self._size = nodes

    nodes = property(__get_nodes, __set_nodes)
