"""``multiprocessing.reduction``, as a module of this package: what is sent is pickled by dill."""

import collections
import copyreg
import io

import dill
from dill import _dill

from ._stdlib import borrow

borrow("multiprocessing.reduction", globals(), {"pickle": "dill"})

pickle = dill
ForkingPickler = globals()["ForkingPickler"]  # a subclass of dill's Pickler


def _init(self, *args, **kwds):
    dill.Pickler.__init__(self, *args, **kwds)
    self.dispatch_table = collections.ChainMap(self._extra_reducers, copyreg.dispatch_table)


@classmethod
def _dumps(cls, obj, protocol=None, *args, **kwds):
    file = io.BytesIO()
    if args or kwds or cls is not ForkingPickler or not _dump_data(obj, file, protocol):
        file = io.BytesIO()
        cls(file, protocol, *args, **kwds).dump(obj)
    return file.getbuffer()


ForkingPickler.__init__, ForkingPickler.dumps = _init, _dumps


class _Data(_dill._Plain):
    """The pickler in C, as long as nothing has a reducer here."""

    def reducer_override(self, obj):
        if type(obj) in ForkingPickler._extra_reducers:
            raise _dill._NotPlain
        return super().reducer_override(obj)


def _dump_data(obj, file, protocol):
    """Whether it could be written by the pickler in C."""
    protocol = _dill._protocol(protocol)
    if protocol < 2 or _dill.logger.isEnabledFor(20):
        return False
    try:
        _Data(file, protocol, byref=True).dump(obj)
    except Exception:  # the other pickler says it in its own words
        return False
    return True


def dump(obj, file, protocol=None, *args, **kwds):
    """Replacement for pickle.dump() using ForkingPickler."""
    ForkingPickler(file, protocol, *args, **kwds).dump(obj)
