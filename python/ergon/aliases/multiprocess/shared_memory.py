"""``multiprocessing.shared_memory``, as a module of this package."""

from . import _lent
from ._stdlib import borrow

borrow("multiprocessing.shared_memory", globals())
_lent.share_memory(globals()["SharedMemory"], globals())
