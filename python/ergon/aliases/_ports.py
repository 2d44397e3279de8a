"""Port numbers."""

import random
import socket

__all__ = ["portnumber", "randomport"]


class portnumber:
    """Numbers of ports from `min` to `max`: a random one first, each call then gives the next; RuntimeError after all.

    Ports that are in use on this machine's loopback interface are left out.
    """

    def __init__(self, min=0, max=64 * 1024):
        self.min, self.max = min, max
        self.first = self.current = -1

    def __call__(self):
        while True:
            if self.current < 0:
                self.first = self.current = random.randint(self.min, self.max)
            else:
                self.current = self.min if self.current >= self.max else self.current + 1
                if self.current == self.first:
                    raise RuntimeError("Range exhausted")
            if _is_free(self.current):
                return self.current


def _is_free(port):
    if not 0 < port < 65536:
        return False
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def randomport(min=1024, max=65536):
    """A free port from a range."""
    return portnumber(min, max)()
