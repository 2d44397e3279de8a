"""``multiprocessing.resource_sharer``, as a module of this package."""

from ._stdlib import borrow

borrow("multiprocessing.resource_sharer", globals())
