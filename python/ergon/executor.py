"""A pool as a ``concurrent.futures.Executor``, for code that takes one."""

import concurrent.futures

from .errors import PoolClosed, TaskCancelled

__all__ = ["Executor"]


class _CallFuture(concurrent.futures.Future):
    """The standard library's future, settled by one of ours."""

    _ergon = None

    def cancel(self):
        """As the standard library's, and the call is cancelled in the pool as well, even while it runs."""
        if self._ergon is not None and not self.done() and self._ergon.cancel():
            self._ergon.wait(5)
        return super().cancel() or self.cancelled()


def _settle(target, source):
    if not target.set_running_or_notify_cancel():
        return
    error = source.exception() if not source.cancelled() else TaskCancelled("the task was cancelled")
    if error is not None:
        target.set_exception(error)
    else:
        target.set_result(source.result())


class Executor(concurrent.futures.Executor):
    """Runs its calls in ``pool``. shutdown() ends the executor, not the pool."""

    def __init__(self, pool):
        self._pool = pool
        self._shut = False
        self._open = set()

    def submit(self, fn, /, *args, **kwargs):
        """A ``concurrent.futures.Future`` of ``fn(*args, **kwargs)``. RuntimeError after shutdown()."""
        if self._shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        try:
            source = self._pool.apipe(fn, *args, **kwargs)
        except PoolClosed as error:
            raise RuntimeError(str(error)) from error
        target = _CallFuture()
        target._ergon = source
        self._open.add(target)

        def done(source):
            self._open.discard(target)
            if source.cancelled():
                concurrent.futures.Future.cancel(target)
                target.set_running_or_notify_cancel()
            else:
                _settle(target, source)

        source.add_done_callback(done)
        return target

    def map(self, fn, *iterables, timeout=None, chunksize=1):
        """Results in order, as the standard library's: all items are taken at once."""
        if self._shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future = self._pool.amap(fn, *iterables, **({"chunksize": chunksize} if chunksize > 1 else {}))

        def results():
            try:
                yield from future.result(timeout)
            finally:
                future.cancel()

        return results()

    def shutdown(self, wait=True, *, cancel_futures=False):
        """No new calls; waits for those entered, or cancels them. The pool stays open."""
        self._shut = True
        pending = list(self._open)
        if cancel_futures:
            for future in pending:
                future.cancel()
        if wait:
            concurrent.futures.wait(pending)
