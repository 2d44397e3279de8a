"""``multiprocessing.process``, as a module of this package; a worker of a pool knows who it is."""

from . import _lent
from ._stdlib import borrow

borrow("multiprocessing.process", globals())
_lent.name_worker(globals())
