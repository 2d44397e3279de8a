"""The package `multiprocess`: multiprocessing whose objects may be anything dill can serialize, with pools that run on Ergon.

Its modules are those of the standard library of the Python that runs it (`_stdlib`). Three things are Ergon's own: what is
sent is pickled by `dill` (`reduction`), pools (`pool`), and the way of locks, queues, values and arrays into the workers of
such a pool (`_lent`).
"""

from ergon.aliases._legal import LICENSE as __license__  # noqa: F401
from ergon.aliases._legal import citation, license  # noqa: F401

from ._stdlib import borrow

borrow("multiprocessing", globals())

__version__ = "0.70.19"
