"""``multiprocessing.heap``, as a module of this package; its memory can be mapped by workers of pools."""

from . import _lent
from ._stdlib import borrow

borrow("multiprocessing.heap", globals())
_lent.lend_arenas(globals()["Arena"])
