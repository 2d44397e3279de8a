"""Reference leaks: run something many times and see whether anything grows with the number of runs.

On a debug build of CPython (make test-full has a leg with one) every reference counts; on others the number of
allocated blocks, which finds leaked objects but not a lost reference to an object that lives anyway.
"""

from __future__ import annotations

import gc
import itertools
import sys
import tracemalloc
from collections.abc import Callable, Iterator

DEBUG_BUILD = hasattr(sys, "gettotalrefcount")
# Under PYTHONMALLOC=malloc (the sanitizer legs) CPython counts no blocks; tracemalloc still sees them.
COUNTS_BLOCKS = sys.getallocatedblocks() > 0


def _count(blocks: bool) -> int:
    gc.collect()
    if DEBUG_BUILD and not blocks:
        return sys.gettotalrefcount()
    return sys.getallocatedblocks() if COUNTS_BLOCKS else tracemalloc.get_traced_memory()[0] // 16


def _rounds(function: Callable[[], object], runs: int, warm_up: int, blocks: bool = False) -> Iterator[int]:
    """By how much the count grows in each round of `runs` calls, after `warm_up` calls that fill caches."""
    if not DEBUG_BUILD and not COUNTS_BLOCKS and not tracemalloc.is_tracing():
        tracemalloc.start()
    for _ in range(warm_up):
        function()
    before = _count(blocks)
    while True:
        for _ in range(runs):
            function()
        now = _count(blocks)
        yield now - before
        before = now


def growth(function: Callable[[], object], runs: int = 20, rounds: int = 5, warm_up: int = 10) -> list[int]:
    """The growth of each of so many rounds."""
    return list(itertools.islice(_rounds(function, runs, warm_up), rounds))


def check(
    function: Callable[[], object], runs: int = 20, rounds: int = 20, warm_up: int = 10, blocks: bool = False
) -> None:
    """Fails when every round grew by at least one for every two calls. A leak grows in all of them; a cache that is
    still being filled stops at some time, and with the first quiet round so does this function.

    With blocks=True blocks are counted on debug builds too: for what goes through extension modules that were compiled
    for other builds (NumPy's wheels). References these take and give up are not in the sum, the other half of them is."""
    deltas = []
    for delta in itertools.islice(_rounds(function, runs, warm_up, blocks), rounds):
        if delta < max(1, runs // 2):
            return
        deltas.append(delta)
    raise AssertionError(
        f"{getattr(function, '__name__', function)} leaks: rounds of {runs} calls left {deltas} "
        f"{'references' if DEBUG_BUILD and not blocks else 'memory blocks'} behind"
    )
