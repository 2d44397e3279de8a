"""Servers make themselves known on the local network, and clients look for them.

Only who asks for it listens: a server with the option for it, a client with '*' among its servers. What is found is
an address; client and server still have to prove to each other that they have the same secret.
"""

import socket
import time

from . import common as ppc

copyright = ppc.copyright
__version__ = version = ppc.__version__

BROADCAST_INTERVAL = 10


class Discover:
    """`run` announces a server, or looks for servers and calls `base.connect1(host, port)` for each."""

    def __init__(self, base, isclient=False):
        self.base, self.isclient = base, isclient
        self.hosts = []

    def run(self, interface_addr, broadcast_addr):
        """Until the base is destroyed: listen on one address, send to the other."""
        self.interface_addr, self.broadcast_addr = interface_addr, broadcast_addr
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            try:  # the narrowest address that hears broadcasts
                end.bind(broadcast_addr)
            except OSError:
                end.bind(interface_addr)
            end.settimeout(0.2)
            self._talk(end)

    def _talk(self, end):
        word, next_word = (b"C", 0.0) if self.isclient else (b"S", 0.0)
        while not self.base._exiting:
            if time.monotonic() >= next_word:
                self._send(end, word)
                next_word = time.monotonic() + (BROADCAST_INTERVAL if word == b"S" else 2 * BROADCAST_INTERVAL)
            try:
                message, (host, _) = end.recvfrom(1024)
            except TimeoutError:
                continue
            except OSError as error:
                self.base.logger.error("discovery of servers ended: %s", error)
                return
            if self.isclient and message[:1] == b"S" and host not in self.hosts:
                self.hosts.append(host)
                self.base.connect1(host, self.broadcast_addr[1], False)
            elif not self.isclient and message[:1] == b"C":
                self._send(end, b"S")

    def _send(self, end, word):
        try:
            end.sendto(word, self.broadcast_addr)
        except OSError as error:
            self.base.logger.debug("cannot reach %s: %s", self.broadcast_addr, error)
