"""``multiprocessing.resource_tracker``, as a module of this package."""

from ._stdlib import borrow

borrow("multiprocessing.resource_tracker", globals())
