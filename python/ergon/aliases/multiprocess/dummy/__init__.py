"""The names of :mod:`multiprocessing.dummy` (threads behind the process interface); its pool is Ergon's."""

import multiprocessing.dummy as _stdlib
from multiprocessing.dummy import *  # noqa: F401,F403

from multiprocess.pool import ThreadPool

__all__ = list(_stdlib.__all__)


def Pool(processes=None, initializer=None, initargs=()):
    """A pool of threads."""
    return ThreadPool(processes, initializer, initargs)
