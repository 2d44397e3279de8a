"""``multiprocessing.popen_spawn_win32``, as a module of this package."""

from ._stdlib import borrow

borrow("multiprocessing.popen_spawn_win32", globals())
