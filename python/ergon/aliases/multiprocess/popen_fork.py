"""``multiprocessing.popen_fork``, as a module of this package."""

from ._stdlib import borrow

borrow("multiprocessing.popen_fork", globals())
