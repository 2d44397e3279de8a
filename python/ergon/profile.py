"""Profiles of functions that run in other threads and processes, by cProfile.

    work = ergon.profile.profiled(gen=ergon.profile.process_id)(work)
    pool.map(ergon.profile.enable_profiling, range(pool.nodes))
    pool.map(work, items)                 # each worker leaves a file id-<pid>.prof, for pstats

    ergon.profile.profile("cumulative", pipe=pool.pipe)(work, 1)      # one call, its table printed

Profiling is switched on and off for a process. What is measured is kept for each of its threads apart.
"""

import functools
import os
import sys
import threading

__all__ = [
    "clear_stats",
    "disable_profiling",
    "dump_stats",
    "enable_profiling",
    "get_stats",
    "not_profiled",
    "print_stats",
    "process_id",
    "profile",
    "profiled",
    "start_profiling",
    "stop_profiling",
    "thread_id",
]

_round = 0  # odd while profiling is enabled; a profile of an earlier round is a stale one
_round_lock = threading.Lock()
_own = threading.local()


def process_id():
    """The identifier of this process."""
    return os.getpid()


def thread_id():
    """The identifier of this thread."""
    return threading.get_ident()


class _Meter:
    """One thread's profile, and how many calls under way asked for it."""

    def __init__(self, number):
        import cProfile

        self.round, self.depth, self.stays_on = number, 0, False
        self.profile = cProfile.Profile()

    def on(self):
        try:
            self.profile.enable()
        except ValueError:  # from 3.12 on one profiler at a time may be active in a process
            return False
        return True

    def enter(self):
        self.depth += 1
        return self.depth > 1 or self.stays_on or self.on()

    def leave(self):
        self.depth -= 1
        if self.depth == 0 and not self.stays_on:
            self.profile.disable()


def _meter():
    """This thread's, or None while profiling is not enabled."""
    if _round % 2 == 0:
        return None
    meter = getattr(_own, "meter", None)
    if meter is None or meter.round != _round:
        meter = _own.meter = _Meter(_round)
    return meter


def __getattr__(name):
    if name == "profiler":  # the profile of this thread, or None
        meter = _meter()
        return None if meter is None else meter.profile
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def enable_profiling(*ignored):
    """Begin with empty profiles in this process. Arguments are ignored, so that it can be mapped."""
    global _round
    with _round_lock:
        _round += 1 if _round % 2 == 0 else 2


def disable_profiling(*ignored):
    """End profiling in this process and forget what was measured."""
    global _round
    stop_profiling()
    with _round_lock:
        _round += _round % 2


def start_profiling(*ignored):
    """From here on measure everything this thread does; enables profiling if need be."""
    if _round % 2 == 0:
        enable_profiling()
    meter = _meter()
    if not meter.stays_on:
        meter.stays_on = meter.depth > 0 or meter.on()


def stop_profiling(*ignored):
    """Measure only profiled functions again."""
    meter = _meter()
    if meter is not None and meter.stays_on:
        meter.stays_on = False
        if meter.depth == 0:
            meter.profile.disable()


def clear_stats(*ignored):
    """Forget what was measured in this thread."""
    meter = _meter()
    if meter is not None:
        meter.profile.clear()


def get_stats(*ignored):
    """What was measured in this thread, as cProfile's entries, or None while profiling is not enabled."""
    meter = _meter()
    return None if meter is None else meter.profile.getstats()


def print_stats(*ignored, sort=-1):
    """Print what was measured in this thread; ``sort`` as in `profiled`."""
    meter = _meter()
    if meter is not None:
        _print(meter.profile, sort)


def dump_stats(*ignored, gen=None, prefix="id-", suffix=".prof"):
    """Write what was measured in this thread to ``prefix + gen() + suffix``, for pstats; `process_id` without ``gen``."""
    meter = _meter()
    if meter is not None:
        meter.profile.dump_stats(f"{prefix}{(gen or process_id)()}{suffix}")


def _print(profile, sort):
    if hasattr(profile, "getstats") and profile.getstats():
        profile.print_stats(sort)
    else:
        print("         0 function calls\n")
    sys.stdout.flush()  # of a worker: nobody else does it soon


class profiled:
    """Decorator: while profiling is enabled where the function runs, measure it.

    After each call the profile is written to ``prefix + gen() + suffix``. When ``gen`` is True, False or the name of a
    column of pstats, it is printed instead, sorted by that. Exceptions pass, and what was measured is kept then too.
    """

    def __init__(self, gen=None, prefix="id-", suffix=".prof"):
        self.prefix, self.suffix = prefix, suffix
        prints = isinstance(gen, (bool, str))
        self.sort = gen if isinstance(gen, str) else -1
        self.pid = str if prints else gen or process_id

    def __call__(self, function):
        return _Profiled(function, self)

    def finish(self, profile):
        """Called after each call, in the thread it was in."""
        if self.pid is str:
            _print(profile, self.sort)
        else:
            profile.dump_stats(f"{self.prefix}{self.pid()}{self.suffix}")


class _Profiled:
    """A function with a profiler around it; also as a method."""

    def __init__(self, function, how):
        functools.update_wrapper(self, function)
        self.__wrapped__, self._how = function, how

    def __call__(self, *args, **kwds):
        meter = _meter()
        if meter is None:
            return self.__wrapped__(*args, **kwds)
        measured = meter.enter()
        try:
            return self.__wrapped__(*args, **kwds)
        finally:
            meter.leave()
            if measured and meter.depth == 0:
                self._how.finish(meter.profile)

    def __get__(self, instance, owner=None):
        return self if instance is None else functools.partial(self, instance)

    def __repr__(self):
        return f"<profiled {self.__wrapped__!r}>"


def not_profiled(function):
    """The function without what `profiled` put around it."""
    inner = function.__wrapped__ if isinstance(function, _Profiled) else function

    @functools.wraps(inner)
    def plain(*args, **kwds):
        return inner(*args, **kwds)

    return plain


class profile:
    """Call a function once under the profiler: ``profile(sort, pipe=pool.pipe)(function, *args)`` is its result.

    Without ``pipe`` the call is made here. The pool of ``pipe`` has one worker. ``sort`` and the other arguments are
    those of `profiled`; without any the profile is printed.
    """

    def __init__(self, sort=None, **config):
        pipe = config.pop("pipe", None)
        if sort is not None and not isinstance(sort, bool):
            config["gen"] = sort
        self.config = config or {"gen": False}
        self.pipe = pipe or (lambda function, *args, **kwds: function(*args, **kwds))
        if getattr(getattr(pipe, "__self__", None), "nodes", 1) != 1:
            raise ValueError("the pool of pipe must have one worker: ProcessPool(1)")

    def __call__(self, function, *args, **kwds):
        return self.pipe(_Once(profiled(**self.config)(function)), *args, **kwds)


class _Once:
    """A call with profiling enabled for its time."""

    def __init__(self, function):
        self._function = function

    def __call__(self, *args, **kwds):
        before = _round
        enable_profiling()
        try:
            return self._function(*args, **kwds)
        finally:
            if before % 2 == 0:
                disable_profiling()
