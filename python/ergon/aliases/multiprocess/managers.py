"""``multiprocessing.managers``, as a module of this package."""

from ._stdlib import borrow

borrow("multiprocessing.managers", globals())
