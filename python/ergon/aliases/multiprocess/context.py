"""``multiprocessing.context``, as a module of this package."""

from ._stdlib import borrow

borrow("multiprocessing.context", globals())


def assert_spawning(obj):
    """Nothing: locks, queues and shared memory may be sent to the workers of a pool as well (`_lent`)."""
