"""What a worker of a pool of `multiprocess` knows of the process that opened the pool, as a forked child would.

It is set when the worker starts, and taken by the modules of `multiprocess` when a task needs them: workers that need none of them
import nothing.
"""

from ergon import _core, _worker

values = (
    None  # in workers: a dict of authkey, method, owner (a process id), name (of the owner), tracker (see _lent.lend)
)


def enter(inherited, initializer):
    """Runs in each worker before its first task. `initializer`: (function, arguments) as bytes, because loading them may
    need what is set here; or None.
    """
    global values
    values = inherited
    if initializer is not None:
        _worker.initialize(initializer)


def number():
    """Which of its pool's workers this is, from 1."""
    return _core._member() - 1  # the pool's own threads come first
