"""Profiles of functions that run in other threads and processes."""

from ergon import profile as _profile
from ergon.profile import (
    clear_stats,
    disable_profiling,
    dump_stats,
    enable_profiling,
    get_stats,
    not_profiled,
    print_stats,
    process_id,
    profile,
    profiled,
    start_profiling,
    stop_profiling,
    thread_id,
)


def __getattr__(name):
    if name == "profiler":  # the profile of the calling thread; None while profiling is not enabled
        return _profile.profiler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
