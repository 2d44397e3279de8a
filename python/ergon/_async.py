"""``await future``: the bridge from the pool's completion thread to an event loop."""

import asyncio

__all__ = ["iterate"]


def iterate(future):
    """The iterator ``await`` needs: ends with the future's result, in the running loop's thread."""
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()

    def wake():
        if waiter.done():
            return
        if future.cancelled():
            waiter.cancel()
        elif (error := future.exception()) is not None:
            waiter.set_exception(error)
        else:
            waiter.set_result(future.result())

    def finished(_):
        try:
            loop.call_soon_threadsafe(wake)
        except RuntimeError:  # the loop was closed: nobody waits any more
            pass

    def given_up(waiter):
        if waiter.cancelled():
            future.cancel()

    waiter.add_done_callback(given_up)
    future.add_done_callback(finished)
    return waiter.__await__()
