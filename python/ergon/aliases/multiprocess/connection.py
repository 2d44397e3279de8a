"""``multiprocessing.connection``, as a module of this package; its pipes can be opened by workers of pools."""

from . import _lent
from ._stdlib import borrow

borrow("multiprocessing.connection", globals())
_lent.lend_connections(globals()["Connection"])
