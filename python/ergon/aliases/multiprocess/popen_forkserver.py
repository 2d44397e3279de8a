"""``multiprocessing.popen_forkserver``, as a module of this package."""

from ._stdlib import borrow

borrow("multiprocessing.popen_forkserver", globals())
