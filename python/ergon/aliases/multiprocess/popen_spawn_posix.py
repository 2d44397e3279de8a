"""``multiprocessing.popen_spawn_posix``, as a module of this package."""

from ._stdlib import borrow

borrow("multiprocessing.popen_spawn_posix", globals())
