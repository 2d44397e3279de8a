"""The results of calls on a `ppft` server, with the interface of multiprocessing's."""

from multiprocess import TimeoutError  # noqa: F401
from multiprocess.pool import AsyncResult
from ppft import Server  # noqa: F401


class ApplyResult(AsyncResult):
    """The result of one call; calling it waits for the result and returns it."""

    def __call__(self):
        return self.get()

    @property
    def finished(self):
        """Whether the result has arrived."""
        return self.ready()


class MapResult(ApplyResult):
    """The results of a map."""
