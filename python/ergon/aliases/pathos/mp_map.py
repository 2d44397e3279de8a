"""One function for maps on processes and threads; `pathos.pools` is the better way."""

from .helpers import cpu_count
from .multiprocessing import ProcessPool
from .threading import ThreadPool

__all__ = ["mp_map"]

# keywords of the maps of other packages, accepted and without meaning here
_FOREIGN = ("nnodes", "nodes", "launcher", "mapper", "queue", "timelimit", "scheduler", "ncpus", "servers")


def mp_map(function, sequence, *args, **kwds):
    """Map `function` over sequences.

    nproc   - the number of workers (default: every processor)
    type    - 'blocking' (a list), 'non-blocking' (an iterator) or 'unordered' (one in any order)
    threads - threads rather than processes
    """
    nproc = kwds.pop("nproc", None) or cpu_count()
    kind = kwds.pop("type", "blocking")
    pool = (ThreadPool if kwds.pop("threads", False) else ProcessPool)(nproc)
    for name in _FOREIGN:
        kwds.pop(name, None)
    methods = {"unordered": pool.uimap, "non-blocking": pool.imap, "ordered": pool.imap}
    return methods.get(kind, pool.map)(function, sequence, *args, **kwds)
