"""Ports of other hosts, through ssh."""

import random
import string

from ergon import ssh as _ssh
from ergon.errors import ErgonError

__all__ = ["Tunnel", "TunnelException"]


class TunnelException(Exception):
    """A tunnel could not be established."""


class Tunnel:
    """A local port that leads to a port of a host.

    >>> tunnel = Tunnel()
    >>> localport = tunnel.connect("remote.host.edu", 12345)
    >>> tunnel.disconnect()

    A connection that breaks is made again, under the same local port.
    """

    MINPORT = 1024
    MAXPORT = 65535
    verbose = False

    def __init__(self, name=None, **kwds):
        """name - a name; the others as for `connect`, which is called if there are any."""
        self.name = "".join(random.choices(string.ascii_letters, k=16)) if name is None else name
        self._tunnel = None
        self.__disconnect()
        if kwds:
            self.connect(**kwds)

    def __repr__(self):
        if not self.connected:
            return f"Tunnel('{self.name}')"
        return f"Tunnel('-q -N -L {self._lport}:{self._host}:{self._rport} {self._host}')"

    def connect(self, host, port=None, through=None):
        """Lead a free local port, which is returned, to a port of `host`, by way of `through`.

        Without a port, one that is free there is chosen.
        """
        tunnel = _ssh.Tunnel(host, port, through=through)
        try:
            tunnel.connect()
        except ErgonError as error:
            raise TunnelException(f"Connection failed: {error}") from None
        self.disconnect()
        self._tunnel = tunnel
        self._lport, self._rport = tunnel.local, tunnel.port
        self._host = through or host
        self._pid = tunnel._process.pid
        self.connected = True
        return self._lport

    def disconnect(self):
        """Tear the tunnel down."""
        if self._tunnel is not None:
            if self.verbose:
                print(f"Kill ssh pid={self._pid}")
            self._tunnel.disconnect()
        self.__disconnect()

    def __disconnect(self):
        self._tunnel = None
        self._pid = 0
        self.connected = False
        self._lport = self._rport = self._host = None
