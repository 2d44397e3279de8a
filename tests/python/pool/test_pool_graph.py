"""Graphs: futures among the arguments and in `after`."""

import operator
import os
import random
import time

import pytest
from ergon.errors import ErgonError


def add(*values):
    return sum(values)


def fail(*_):
    raise KeyError("the predecessor")


def touch(path):
    with open(path, "a") as file:
        file.write("x")
    return os.path.exists(path)


def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.005)
    return 1


def test_future_as_argument(pool):
    first = pool.submit(add, 1, 2)
    assert pool.submit(add, first, 10).result(60) == 13


def test_future_as_keyword_argument(pool):
    first = pool.submit(add, 1, 2)
    assert pool.submit(dict, value=first).result(60) == {"value": 3}


def test_future_inside_a_container(pool):
    """`any Future may stand among the arguments`: at the top level, and in the containers given as arguments."""
    first = pool.submit(add, 1, 2)
    second = pool.submit(add, 3, 4)
    assert pool.submit(sum, [first, second]).result(60) == 10


def test_future_of_apipe_and_amap(pool):
    assert pool.submit(add, pool.apipe(add, 1), 2).result(60) == 3
    assert pool.submit(sum, pool.amap(add, range(10))).result(60) == 45


def test_diamond(pool):
    top = pool.submit(add, 1)
    left = pool.submit(add, top, 10)
    right = pool.submit(add, top, 100)
    assert pool.submit(add, left, right).result(60) == 112
    assert top.result() == 1 and left.result() == 11 and right.result() == 101


def test_same_future_twice(pool):
    first = pool.submit(add, 2)
    assert pool.submit(operator.mul, first, first).result(60) == 4
    assert pool.submit(add, first, first, first).result(60) == 6


def test_chain_of_ten_thousand(parallel_pool):
    future = parallel_pool.submit(add, 0)
    for _ in range(10_000):
        future = parallel_pool.submit(add, future, 1)
    assert future.result(120) == 10_000


def test_chain_whose_links_are_kept(parallel_pool):
    futures = [parallel_pool.submit(add, 0)]
    for _ in range(1000):
        futures.append(parallel_pool.submit(add, futures[-1], 1))
    assert [f.result(60) for f in futures] == list(range(1001))


def test_fan_in(parallel_pool):
    parts = [parallel_pool.submit(add, i) for i in range(1000)]
    assert parallel_pool.submit(add, *parts).result(60) == sum(range(1000))


def test_fan_out(parallel_pool):
    one = parallel_pool.submit(add, 1)
    assert [f.result(60) for f in [parallel_pool.submit(add, one, i) for i in range(1000)]] == [
        1 + i for i in range(1000)
    ]


def test_stencil(parallel_pool):
    """Rows of tasks, each with three predecessors of the row above."""
    width, steps = 8, 40
    row = [parallel_pool.submit(add, i) for i in range(width)]
    values = list(range(width))
    for _ in range(steps):
        row = [parallel_pool.submit(add, *(row[j] for j in (i - 1, i, i + 1) if 0 <= j < width)) for i in range(width)]
        values = [sum(values[max(0, i - 1) : i + 2]) for i in range(width)]
    assert [f.result(120) for f in row] == values


def test_random_graph(parallel_pool):
    rng = random.Random(7)
    futures, values = [], []
    for i in range(2000):
        chosen = [rng.randrange(i) for _ in range(rng.randrange(4))] if i else []
        futures.append(parallel_pool.submit(add, i, *(futures[c] for c in chosen)))
        values.append((i + sum(values[c] for c in chosen)) % 1_000_003)
        futures[-1] = parallel_pool.submit(operator.mod, futures[-1], 1_000_003)
    assert [f.result(120) for f in futures] == values


def test_large_values_between_tasks(process_pool):
    block = process_pool.submit(bytes, 5_000_000)
    lengths = [process_pool.submit(len, block) for _ in range(10)]
    assert [f.result(60) for f in lengths] == [5_000_000] * 10
    assert len(block.result()) == 5_000_000


def test_nothing_runs_before_its_predecessors(parallel_pool, tmp_path):
    gate = tmp_path / "gate"
    mark = tmp_path / "mark"
    if parallel_pool.nodes < 2:
        pytest.skip("needs two workers")
    first = parallel_pool.submit(wait_for, str(gate))
    second = parallel_pool.submit(touch, str(mark), after=[first])
    time.sleep(0.1)
    assert not mark.exists() and not second.done()
    gate.touch()
    assert second.result(60) is True


def test_after(pool, tmp_path):
    mark = tmp_path / "mark"
    first = pool.submit(touch, str(mark))
    assert pool.submit(os.path.exists, str(mark), after=(first,)).result(60)
    assert pool.submit(os.path.exists, str(mark), after=first).result(60)


def test_after_many(parallel_pool, tmp_path):
    mark = tmp_path / "mark"
    writers = [parallel_pool.submit(touch, str(mark)) for _ in range(200)]
    assert parallel_pool.submit(os.path.getsize, str(mark), after=writers).result(60) == 200


def test_after_takes_only_futures(pool):
    with pytest.raises(TypeError):
        pool.submit(add, 1, after=[3])


def test_failed_predecessor(pool):
    """The successor never runs; it fails with the predecessor's error or one that names it as its cause."""
    bad = pool.submit(fail)
    after = pool.submit(add, bad, 1)
    error = after.exception(60)
    assert error is not None
    assert isinstance(error, KeyError) or isinstance(error.__cause__, KeyError) or "predecessor" in str(error)
    assert pool.submit(add, 1).result(60) == 1


def test_failed_predecessor_in_after(pool, tmp_path):
    mark = tmp_path / "mark"
    bad = pool.submit(fail)
    assert pool.submit(touch, str(mark), after=[bad]).exception(60) is not None
    assert not mark.exists()


def test_failure_passes_down_a_long_chain(parallel_pool):
    future = parallel_pool.submit(fail)
    for _ in range(300):
        future = parallel_pool.submit(add, future, 1)
    assert future.exception(60) is not None
    assert parallel_pool.submit(add, 1).result(60) == 1


def test_one_failure_among_many_predecessors(parallel_pool):
    parts = [parallel_pool.submit(add, i) for i in range(100)]
    parts.insert(50, parallel_pool.submit(fail))
    assert parallel_pool.submit(add, *parts).exception(60) is not None
    assert all(p.exception(60) is None for i, p in enumerate(parts) if i != 50)


def test_cancelled_predecessor(parallel_pool, tmp_path):
    gate = tmp_path / "gate"
    blockers = [parallel_pool.submit(wait_for, str(gate)) for _ in range(parallel_pool.nodes)]
    waiting = parallel_pool.submit(add, 1)
    after = parallel_pool.submit(add, waiting, 1)
    assert waiting.cancel()
    gate.touch()
    assert [b.result(60) for b in blockers] == [1] * len(blockers)
    with pytest.raises(BaseException) as caught:
        after.result(60)
    assert "Cancelled" in caught.type.__name__ or isinstance(caught.value, ErgonError)


def test_cancelled_successor_leaves_the_predecessor(parallel_pool, tmp_path):
    gate = tmp_path / "gate"
    first = parallel_pool.submit(wait_for, str(gate))
    second = parallel_pool.submit(add, first, 1)
    third = parallel_pool.submit(add, first, 2)
    assert second.cancel()
    gate.touch()
    assert first.result(60) == 1 and third.result(60) == 3


def test_future_of_another_pool(parallel_pool):
    """A future is a value wherever it comes from."""
    import ergon

    with ergon.ThreadPool(1) as other:
        assert parallel_pool.submit(add, other.submit(add, 5), 1).result(60) == 6


def test_future_that_is_done_already(pool):
    first = pool.submit(add, 4)
    assert first.result(60) == 4
    assert pool.submit(add, first, 1).result(60) == 5


def test_forgotten_predecessors(parallel_pool):
    """Only the last future is kept."""
    total = parallel_pool.submit(add, *(parallel_pool.submit(add, i) for i in range(100)))
    assert total.result(60) == sum(range(100))


def test_task_that_makes_a_graph(process_pool):
    def build(pool):
        futures = [pool.submit(add, i) for i in range(20)]
        return pool.submit(add, *futures).result(60)

    assert process_pool.pipe(build, process_pool) == sum(range(20))
