"""The names of :mod:`multiprocessing`, with pools that run on Ergon.

Everything but the pools is the standard library's own. Functions and results may be anything Ergon can
serialize: lambdas, closures, functions and classes of ``__main__``.
"""

import multiprocessing as _stdlib
from multiprocessing import *  # noqa: F401,F403
from multiprocessing import context, process, reduction  # noqa: F401

from ergon.aliases._legal import LICENSE as __license__  # noqa: F401
from ergon.aliases._legal import citation, license  # noqa: F401

from . import pool
from .pool import Pool

__all__ = list(_stdlib.__all__)
__version__ = "0.70.19"
