"""``multiprocessing.sharedctypes``, as a module of this package; its values can be sent to workers of pools."""

import copyreg

from ._stdlib import borrow

borrow("multiprocessing.sharedctypes", globals())
_rebuild, reduce_ctype = globals()["rebuild_ctype"], globals()["reduce_ctype"]


def rebuild_ctype(type_, wrapper, length):
    """The value of that type that lies in that shared memory."""
    obj = _rebuild(type_, wrapper, length)
    copyreg.pickle(type(obj), _reduce)  # for picklers that know nothing of this package's
    return obj


def _reduce(obj):
    return reduce_ctype(obj) if hasattr(obj, "_wrapper") else obj.__reduce__()
