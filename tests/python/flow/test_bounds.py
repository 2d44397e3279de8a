"""Running ahead is bounded: memory does not grow with the length of a loop, nor with the size of results, nor stacks with chains."""

import gc
import subprocess
import sys
import weakref

import ergon
import pytest

PROGRAM = """
import gc, resource, sys, time
import ergon
from ergon import functional, schedule
ergon.configure(workers=[{"type": "multicore", "cores": 2}])

@functional
def cheap(x):
    return x & 7

@functional
def slow(x):
    time.sleep(0.002)
    return x

@functional
def big(x):
    return bytes(2_000_000)

@functional
async def waits(x):
    import asyncio
    await asyncio.sleep(0)
    return x & 7

@schedule
def loop_without_calls(n):
    total = slow(1)
    for i in range(n):
        total += i & 7
    return total + slow(2)

@schedule
def loop_of_cheap_calls(n):
    total = 0
    for i in range(n):
        total += cheap(i)
    return total

@schedule
def loop_of_async_calls(n):
    total = 0
    for i in range(n):
        total += waits(i)
    return total

@schedule
def loop_of_big_results(n):
    total = 0
    for i in range(n):
        total += len(big(i))
    return total

@schedule
def chain(n):
    values = [slow(1)]
    for i in range(n):
        values.append(values[-1] + 1)
    last = slow(values[-1])
    return last, len(values)

@schedule
def nested(n):
    inside = slow(1)
    for i in range(n):
        inside = [inside]
    depth = 0
    slow(0)
    while type(inside) is list:
        inside, = inside
        depth += 1
    return depth

name, short, long = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
main = globals()[name]
main(short)
gc.collect()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
result = main(long)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(repr(result), before, grown)
ergon.shutdown()
"""


def run(tmp_path, *arguments):
    (tmp_path / "bounds.py").write_text(PROGRAM)
    line = [sys.executable, "bounds.py", *map(str, arguments)]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=True)
    result, before, grown = done.stdout.rsplit(None, 2)
    return eval(result), int(before), int(grown)


def test_a_long_loop_without_calls(tmp_path):
    result, before, grown = run(tmp_path, "loop_without_calls", 20_000, 1_000_000)
    assert result == 3 + sum(i & 7 for i in range(1_000_000))
    assert grown < before / 4


@pytest.mark.full
def test_ten_million_iterations(tmp_path):
    result, before, grown = run(tmp_path, "loop_without_calls", 100_000, 10_000_000)
    assert result == 3 + 35_000_000
    assert grown < before / 4


def test_functions_made_from_text_are_let_go_of():
    """Not more than what passes remember of code objects is left of them."""
    codes = []
    for i in range(2500):
        space = {}
        exec(f"@schedule\ndef main(f):\n    return f({i}) + f({i} + 1)", {"schedule": ergon.schedule}, space)
        assert space["main"](abs) == 2 * i + 1
        codes.append(weakref.ref(space["main"].__code__))
    del space
    gc.collect()
    assert sum(code() is not None for code in codes) < 1200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "short", "long"), [("loop_of_cheap_calls", 3_000, 300_000), ("loop_of_async_calls", 25_000, 100_000)]
)
def test_long_loops_of_calls(name, short, long, tmp_path):
    result, before, grown = run(tmp_path, name, short, long)
    assert result == sum(i & 7 for i in range(long))
    assert grown < before / 4


@pytest.mark.slow
def test_results_that_wait_are_limited_by_their_bytes(tmp_path):
    result, _, grown = run(tmp_path, "loop_of_big_results", 40, 300)
    assert result == 300 * 2_000_000
    assert grown < 150_000  # kilobytes; the results together have 600 MB


def test_a_chain_of_pending_values(tmp_path):
    result, _, _ = run(tmp_path, "chain", 10, 100_000)
    assert result == (100_001, 100_001)


def test_deeply_nested_pending_values(tmp_path):
    result, _, _ = run(tmp_path, "nested", 10, 100_000)
    assert result == 100_000
