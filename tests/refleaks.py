"""Reference leaks: run something many times and see whether anything grows with the number of runs.

On a debug build of CPython (make test-full has a leg with one) every reference counts; on others the number of
allocated blocks, which finds leaked objects but not a lost reference to an object that lives anyway.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable

DEBUG_BUILD = hasattr(sys, "gettotalrefcount")
# Under PYTHONMALLOC=malloc (the sanitizer legs) CPython counts no blocks; tracemalloc still sees them.
COUNTS_BLOCKS = sys.getallocatedblocks() > 0


def _count() -> int:
    gc.collect()
    if DEBUG_BUILD:
        return sys.gettotalrefcount()
    return sys.getallocatedblocks() if COUNTS_BLOCKS else tracemalloc.get_traced_memory()[0] // 16


def growth(function: Callable[[], object], runs: int = 20, rounds: int = 5, warm_up: int = 10) -> list[int]:
    """By how much the count grew in each of `rounds` rounds of `runs` calls, after `warm_up` calls that fill caches."""
    if not DEBUG_BUILD and not COUNTS_BLOCKS and not tracemalloc.is_tracing():
        tracemalloc.start()
    for _ in range(warm_up):
        function()
    deltas = [0] * rounds
    before = _count()
    for index in range(rounds):
        for _ in range(runs):
            function()
        now = _count()
        deltas[index] = now - before
        before = now
    return deltas


def check(function: Callable[[], object], runs: int = 20, rounds: int = 5, warm_up: int = 10) -> None:
    """Fails when every round grew by at least one for every two calls: a leak grows in all of them, noise does not."""
    deltas = growth(function, runs, rounds, warm_up)
    assert min(deltas) < max(1, runs // 2), (
        f"{getattr(function, '__name__', function)} leaks: {runs} calls each left {deltas} "
        f"{'references' if DEBUG_BUILD else 'memory blocks'} behind"
    )
