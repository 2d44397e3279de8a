"""Pools on the servers of `ppft`."""

from multiprocess import cpu_count
from ppft import DestroyedServerError, Server

from ._shared import pool_size
from .abstract_launcher import AbstractWorkerPool
from .helpers.pp_helper import ApplyResult, MapResult

__all__ = ["ParallelPool", "stats"]

__STATE = _ParallelPool__STATE = {}


def __print_stats(servers=None):
    """Print the statistics of some servers, or of all that are registered."""
    if servers is None:
        servers, which = list(__STATE.values()), "; no active"
    else:
        servers, which = servers if isinstance(servers, (list, tuple)) else (servers,), " for the requested"
    if not servers:
        print(f"Stats are not available{which} servers.\n")
    for server in servers:
        server.print_stats()


def stats(pool=None):
    """The statistics of a pool, or of all pools, as text."""
    import contextlib
    import io

    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        __print_stats(None if pool is None else __STATE.get(pool._id, ()))
    return text.getvalue()


class ParallelPool(AbstractWorkerPool):
    """A pool on a `ppft` server: workers of this machine, and its servers' workers.

    >>> pool = ParallelPool(nodes=4)
    >>> pool.map(pow, [1, 2, 3, 4], [5, 6, 7, 8])
    [1, 64, 2187, 65536]

    Unlike the original it raises what a call raises, and keywords reach the function.
    """

    __state__ = __STATE

    def __init__(self, *args, **kwds):
        """The number of local workers (default or ``'*'``: every processor), and:

        servers - a tuple of "host:port", or ``'*'`` for those that are found
        id      - the key under which the server is shared (default: number and servers)
        """
        ncpus = pool_size(("ncpus", "nodes"), args, kwds)
        servers = _server_names(kwds.get("servers"))
        self._id = kwds.get("id")
        if self._id is None:
            count = ncpus if isinstance(ncpus, int) else "*"
            self._id = f"{count}@{'+'.join(sorted(servers))}"
        self.__nodes = None
        self.__servers = ()
        self._serve(ncpus, servers)

    def __repr__(self):
        return f"<pool {type(self).__name__}(ncpus={self.ncpus}, servers={self.servers})>"

    def _serve(self, nodes=None, servers=None):
        """The server behind this pool, made or resized as this handle describes it."""
        nodes = self.nodes if nodes is None else nodes
        nodes = None if nodes in ("*", "autodetect") else nodes
        servers = self.__servers if servers is None else _server_names(servers)
        server = __STATE.get(self._id)
        if server is None or server._names != servers:
            server = Server("autodetect" if nodes is None else nodes, ppservers=servers)
            server._names = servers
        elif server.get_ncpus() != _count(nodes):
            server.set_ncpus(_count(nodes))
        __STATE[self._id] = server
        self.__nodes, self.__servers = nodes, servers
        return server

    def _mine(self):
        """The registered server, if it is as this handle describes it."""
        server = __STATE.get(self._id)
        if server is None or server.get_ncpus() != _count(self.__nodes) or server._names != self.__servers:
            return None
        return server

    def _call(self, method, f, args, kwds={}):
        try:
            return self._serve()._call(method, f, args, kwds)
        except DestroyedServerError:
            raise ValueError("Pool not running") from None

    # Calls; keywords of the maps belong to other pools and are ignored

    def map(self, f, *args, **kwds):
        self._AbstractWorkerPool__map(f, *args)
        return self._call("map", f, args)

    def imap(self, f, *args, **kwds):
        self._AbstractWorkerPool__imap(f, *args)
        return self._call("imap", f, args)

    def uimap(self, f, *args, **kwds):
        self._AbstractWorkerPool__imap(f, *args)
        return self._call("uimap", f, args)

    def amap(self, f, *args, **kwds):
        self._AbstractWorkerPool__map(f, *args)
        return MapResult(self, self._call("amap", f, args))

    def pipe(self, f, *args, **kwds):
        return self._call("pipe", f, args, kwds)

    def apipe(self, f, *args, **kwds):
        return ApplyResult(self, self._call("apipe", f, args, kwds))

    for _method in (map, imap, uimap, amap, pipe, apipe):
        _method.__doc__ = getattr(AbstractWorkerPool, _method.__name__).__doc__
    del _method

    # Life

    def clear(self):
        """End the server and forget it; the next call starts a new one."""
        server = self._mine()
        if server is not None:
            server.destroy()
            __STATE.pop(self._id, None)

    _clear = clear

    def restart(self, force=False):
        """Open a closed pool again; an open one only with `force`."""
        server = self._mine()
        if server is not None:
            assert force or server._exiting, "the pool is running"
            server._reopen()
            self._serve()

    def close(self):
        """Take no more calls; those that were made are finished."""
        server = self._mine()
        if server is not None:
            server.close()

    def join(self):
        """Wait for the workers of a closed pool to end; AssertionError while it is open."""
        server = self._mine()
        if server is not None:
            assert server._exiting, "the pool is running"
            server._join()

    def terminate(self):
        """End the workers at once."""
        server = self._mine()
        if server is not None:
            server.destroy()

    def __get_nodes(self):
        """the number of local workers, '*' for every processor"""
        return "*" if self.__nodes is None else self.__nodes

    def __set_nodes(self, nodes):
        self._serve(nodes="*" if nodes is None else nodes)

    def __get_servers(self):
        """the servers in use: None, '*', or a tuple of names"""
        if self.__servers == ("*",):
            return "*"
        return self.__servers or None

    def __set_servers(self, servers):
        self._serve(servers=() if servers is None else servers)

    ncpus = nodes = property(__get_nodes, __set_nodes)
    servers = property(__get_servers, __set_servers)


def _server_names(servers):
    """What a user may write for servers, as a tuple of names."""
    if servers is None:
        return ()
    if isinstance(servers, str):
        return ("*",) if servers in ("*", "autodetect") else (servers,)
    return tuple(servers)


def _count(nodes):
    return cpu_count() if nodes is None else nodes


ParallelPythonPool = ParallelPool
