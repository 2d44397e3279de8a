"""``multiprocessing.util``, as a module of this package."""

from ._stdlib import borrow

borrow("multiprocessing.util", globals())
