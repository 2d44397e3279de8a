"""The base of servers."""

__all__ = ["Server"]


class Server:
    """A server around a selector."""

    def __init__(self):
        self._selector = None

    def selector(self):
        """The selector, None before `activate`."""
        return self._selector

    def activate(self, onTimeout=None, selector=None):
        """Take a selector, or make one; `onTimeout(selector)` is called when it is idle."""
        if selector is None:
            from .selector import Selector

            selector = Selector()
        if onTimeout is not None:
            selector.notifyWhenIdle(onTimeout)
        self._selector = selector

    def deactivate(self):
        """End `serve`."""
        self._selector.state = False

    def serve(self, timeout):
        """Serve until `deactivate`; `timeout` seconds without a request count as idle."""
        self._selector.watch(timeout)
