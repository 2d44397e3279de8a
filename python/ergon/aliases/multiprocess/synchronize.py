"""``multiprocessing.synchronize``, as a module of this package; its locks can be sent to workers of pools."""

from . import _lent
from ._stdlib import borrow

borrow("multiprocessing.synchronize", globals())
_lent.lend_locks(globals()["SemLock"])
