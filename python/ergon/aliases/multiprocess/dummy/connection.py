"""``multiprocessing.dummy.connection``, as a module of this package."""

from multiprocess._stdlib import borrow

borrow("multiprocessing.dummy.connection", globals())
