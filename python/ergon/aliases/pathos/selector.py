"""A loop that waits for files and calls who is interested in them."""

import select

__all__ = ["Selector"]


class Selector:
    """Calls handlers when files are ready, and others when nothing has happened for a while.

    A handler is called with the selector (and the file) and stays registered as long as it returns something true.
    `watch` returns when `state` is false or nobody is registered any more.
    """

    _TIMEOUT = 0.5

    def __init__(self):
        self.state = True
        self._timeout = self._TIMEOUT
        self._input, self._output, self._exception = {}, {}, {}
        self._idle, self._interrupt = [], []

    def watch(self, timeout=None):
        """Wait and call, with `timeout` seconds until a wait counts as idle. An interruption is told to its handlers."""
        if timeout:
            self._timeout = timeout
        try:
            self._watch()
        except KeyboardInterrupt:
            for handler in list(self._interrupt):
                handler(self)
            raise

    def notifyOnReadReady(self, fd, handler):
        """Call `handler(selector, fd)` when `fd` can be read."""
        self._input.setdefault(fd, []).append(handler)

    def notifyOnWriteReady(self, fd, handler):
        """Call `handler(selector, fd)` when `fd` can be written."""
        self._output.setdefault(fd, []).append(handler)

    def notifyOnException(self, fd, handler):
        """Call `handler(selector, fd)` when something exceptional happened to `fd`."""
        self._exception.setdefault(fd, []).append(handler)

    def notifyOnInterrupt(self, handler):
        """Call `handler(selector)` when the wait is interrupted."""
        self._interrupt.append(handler)

    def notifyWhenIdle(self, handler):
        """Call `handler(selector)` when nothing happened for the timeout."""
        self._idle.append(handler)

    def _watch(self):
        while self.state and (self._input or self._output or self._exception or self._idle):
            kinds = (self._input, self._output, self._exception)
            found = select.select(*(list(kind) for kind in kinds), self._timeout)
            if not any(found):
                self._idle = [handler for handler in list(self._idle) if handler(self)]
            for kind, ready in sorted(zip(kinds, found), key=lambda pair: pair[0] is self._input):
                self._dispatch(kind, ready)

    def _dispatch(self, handlers, ready):
        for fd in ready:
            kept = [handler for handler in list(handlers.get(fd, ())) if handler(self, fd)]
            if fd in handlers:
                handlers[fd] = kept
                if not kept:
                    del handlers[fd]
