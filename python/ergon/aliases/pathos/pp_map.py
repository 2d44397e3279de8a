"""Functions for maps on `ppft` servers; `pathos.pools` is the better way."""

from .parallel import ParallelPool, stats  # noqa: F401
from .parallel import __print_stats as print_stats  # noqa: F401

__all__ = ["ppmap", "pp_map"]


def ppmap(processes, function, sequence, *sequences):
    """Map `function` over sequences on so many local workers (None: every processor).

    Returns an iterator of the results in order, which is busy before it is asked for the first.
    """
    return ParallelPool("*" if processes is None else processes).imap(function, sequence, *sequences)


def pp_map(function, sequence, *args, **kwds):
    """Map `function` over sequences; a list.

    ncpus   - the number of local workers (default: every processor)
    servers - servers whose workers are used as well
    """
    pool = ParallelPool(kwds.get("ncpus") if kwds.get("ncpus") is not None else "*", servers=kwds.get("servers"))
    return pool.map(function, sequence, *args)
