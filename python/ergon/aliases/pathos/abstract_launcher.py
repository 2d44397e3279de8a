"""The base of all pools: which methods there are, and what they check.

Third-party pools derive from `AbstractWorkerPool` and call its checks by their mangled names
(``_AbstractWorkerPool__map`` and so on); these are therefore part of the interface.
"""

__all__ = ["AbstractPipeConnection", "AbstractWorkerPool"]


class AbstractPipeConnection:
    """The base of connections between two nodes."""

    def __init__(self, *args, **kwds):
        """Takes anything; a derived class decides what it needs."""

    def __repr__(self):
        return f"<pipe {type(self).__name__}>"


class AbstractWorkerPool:
    """The base of pools: `map` is one to many, `pipe` is one to one.

    A pool may know `nodes` (how many workers), `ncpus`, `servers`, `scheduler`, `workdir`, `scatter`,
    `source` and `timeout`.
    """

    __nodes = 1

    def __init__(self, *args, **kwds):
        self.__init(*args, **kwds)
        self._id = kwds.get("id")

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        """Leaves the pool as it is: pools are shared, `clear` ends them."""

    def __repr__(self):
        return f"<pool {type(self).__name__}()>"

    # Checks, called by derived classes

    def __init(self, *args, **kwds):
        if args and "nodes" in kwds:
            raise TypeError("got multiple values for keyword argument 'nodes'")
        nodes = args[0] if args else kwds.get("nodes", self.__nodes)
        try:
            self.nodes = nodes
        except TypeError:
            pass  # a pool of one fixed size

    def __map(self, f, *args, **kwds):
        if not args:
            raise TypeError("map() requires at least two args")

    def __imap(self, f, *args, **kwds):
        if not args:
            raise TypeError("imap() must have at least two arguments")

    def __pipe(self, f, *args, **kwds):
        pass  # the call itself checks its arguments

    def __get_nodes(self):
        return self.__nodes

    def __set_nodes(self, nodes):
        raise TypeError("nodes is a read-only attribute")

    # What a derived class offers

    def _serve(self, *args, **kwds):
        """The server behind this pool, made when there is none."""
        raise NotImplementedError

    def clear(self):
        """End the server behind this pool and forget it."""
        raise NotImplementedError

    def map(self, f, *args, **kwds):
        """Call `f` on the items of one or more iterables, blocking; the list of results in order.

        The shortest iterable ends it. `chunksize` is how many items travel together.
        """
        raise NotImplementedError

    def imap(self, f, *args, **kwds):
        """Call `f` on the items of one or more iterables; an iterator of the results in order."""
        raise NotImplementedError

    def uimap(self, f, *args, **kwds):
        """Call `f` on the items of one or more iterables; an iterator of the results as they arrive."""
        raise NotImplementedError

    def amap(self, f, *args, **kwds):
        """Call `f` on the items of one or more iterables; an object whose `get()` is the list of results."""
        raise NotImplementedError

    def pipe(self, f, *args, **kwds):
        """Call `f(*args, **kwds)` on a worker, blocking; its result."""
        raise NotImplementedError

    def apipe(self, f, *args, **kwds):
        """Call `f(*args, **kwds)` on a worker; an object whose `get()` is its result."""
        raise NotImplementedError
