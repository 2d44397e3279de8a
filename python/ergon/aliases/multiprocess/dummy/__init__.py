"""``multiprocessing.dummy``, threads behind the interface of processes, as a module of this package; its pool is Ergon's."""

from multiprocess._stdlib import borrow

borrow("multiprocessing.dummy", globals())
