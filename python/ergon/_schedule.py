"""``schedule`` and ``functional``: sequential Python, run in parallel. See docs/schedule.md."""

import functools
import sys
import threading
import types

from . import _check, _core, _felt  # noqa: F401  the last notes what sys.stdout is
from ._core import Functional, Schedule

__all__ = ["configure", "functional", "schedule"]


def _like(wrapper, function):
    """Makes the wrapper look like the function, as functools.wraps does."""
    for name in functools.WRAPPER_ASSIGNMENTS:
        try:
            setattr(wrapper, name, getattr(function, name))
        except AttributeError:
            pass
    own = getattr(function, "__dict__", None)
    if isinstance(own, dict):
        wrapper.__dict__.update(own)
    wrapper.__wrapped__ = function
    return wrapper


def schedule(function=None, /):
    """Decorator: calls of functionals inside ``function`` run in parallel; everything else stays as it is written.

    Results, exceptions, output and changes are those of sequential execution. Also ``@schedule()``.
    """
    if function is None:
        return schedule
    if isinstance(function, (staticmethod, classmethod)):
        return type(function)(schedule(function.__func__))
    if isinstance(function, Schedule):
        return function
    return _like(Schedule(function), function)


def functional(function=None, /, *names, retries=None, timeout=None, resources=None):
    """Decorator: promises that ``function`` only looks at its arguments, changes nothing and can be run again.

    ``functional(numpy.linalg.svd)`` does the same for a function of somebody else's;
    ``functional(module, "name", ...)`` replaces those functions in the module.

    Options, also in brackets (``@functional(timeout=60)``), for calls that workers make: retries: how often a call is made again
    when its worker died (3), then it raises WorkerLost. timeout: seconds a call may take, then it raises TaskTimeout.
    resources: where calls may run, as for a pool: ``{"host": "a"}``. TypeError, ValueError.
    """
    options = {"retries": retries, "timeout": timeout, "resources": resources}
    options = {name: value for name, value in options.items() if value is not None}
    if options:
        _core._check_options(**options)
    if function is None:
        return functools.partial(functional, **options) if options else functional
    if isinstance(function, types.ModuleType):
        for name in names:
            setattr(function, name, functional(getattr(function, name), **options))
        return function
    if names:
        raise TypeError("names go with a module: functional(module, 'name', ...)")
    if isinstance(function, (staticmethod, classmethod)):
        return type(function)(functional(function.__func__, **options))
    if isinstance(function, Functional):
        if not options:
            return function
        function = function._function
    return _with(_like(Functional(function), function), options)


def _with(made, options):
    if options and made._is_async:
        raise TypeError("retries, timeout and resources are for functionals that workers run, not for async ones")
    for name, value in options.items():
        setattr(made, f"_{name}", value)
    made._remote_only = bool(options.keys() & {"timeout", "resources"})
    return made


# --- where functionals run ---------------------------------------------------------------------------------

_lock = threading.RLock()
_current = None  # (pool, process id)
_workers = None  # what configure() was given, or None: the configuration file, or every core


def _open():
    import os

    from . import _around, config
    from .pool import Pool

    _around.began()
    workers = _workers if _workers is not None else config.workers()
    resources = config.resources(workers) if workers else []
    pool = Pool.__new__(Pool)
    pool._preload = 2 if "numpy" in sys.modules else 1  # who has NumPy will send arrays
    pool.__init__(*resources)
    return pool, os.getpid()


def _pool():
    """The pool of functionals: opened when first needed, kept until ergon.shutdown() or the program's end."""
    global _current
    import os

    current = _current
    if current is not None and current[1] == os.getpid() and not current[0].closed:
        return current[0]
    with _lock:
        if _current is None or _current[1] != os.getpid() or _current[0].closed:
            _current = _open()
        return _current[0]


def _give_up(pool):
    """The pool came to nothing (its workers were killed while they started, or somebody closed it): the next session
    opens another. What this one still waits for is called in its turn, in place."""
    global _current
    with _lock:
        if _current is not None and _current[0] is pool:
            _current = None
            pool.terminate()


def configure(workers=None, ssh_config=None):
    """Says where functionals and pools that name no resources run: the list that the configuration file has under ``workers``; replaces it.

    ``configure(workers=[{"type": "multicore", "cores": 4}])``. None: the configuration file counts again. Workers that
    run already end. ssh_config: the configuration file for OpenSSH to use instead of the user's (also
    ``$ERGON_SSH_CONFIG``). ConfigError.
    """
    global _workers
    from . import _resources, config

    if workers is not None:
        workers = list(workers)
        config.resources(workers)
    _resources.set_ssh_config(ssh_config)
    _end()
    _workers = workers


def _end():
    global _current
    import os

    _core._flow_sweep()
    if (coroutines := sys.modules.get(f"{__package__}._coroutines")) is not None:
        coroutines.end()
    with _lock:
        current, _current = _current, None
    if current is not None and current[1] == os.getpid() and not current[0].closed:
        current[0].terminate()
        current[0].join()


def stats():
    """Counts since the program began: calls, how many were foreseen, passes, …"""
    return _core._flow_stats()


if _check.wanted():
    _check.begin()
