"""``multiprocessing.queues``, as a module of this package."""

from ._stdlib import borrow

borrow("multiprocessing.queues", globals())
