"""Pools in tasks, tasks that use the pool they run in, all mixes: no deadlock, right results."""

import heapq
import itertools
import random

import ergon
import pytest


def double(x):
    return 2 * x


def open_pool(kind):
    return {
        "serial": ergon.SerialPool,
        "threads": lambda: ergon.ThreadPool(2),
        "processes": lambda: ergon.ProcessPool(2),
    }[kind]()


def map_inside(kind, n):
    with open_pool(kind) as inner:
        return inner.map(double, range(n))


@pytest.mark.parametrize("inner", ["serial", "threads", "processes"])
def test_pool_in_a_task(pool, inner):
    assert pool.map(map_inside, [inner] * 3, range(5, 8)) == [[2 * i for i in range(n)] for n in range(5, 8)]


def tower(kinds, n):
    if not kinds:
        return n
    with open_pool(kinds[0]) as inner:
        return sum(inner.map(tower, [kinds[1:]] * 2, [n, n]))


@pytest.mark.slow
@pytest.mark.parametrize("kinds", list(itertools.product(["threads", "processes"], repeat=3)))
def test_three_floors(kinds):
    assert tower(kinds, 1) == 8


def use_own_pool(pool, n):
    return sum(pool.map(double, range(n)))


def test_task_uses_the_pool_it_runs_in(pool):
    assert pool.pipe(use_own_pool, pool, 10) == 90


def test_all_workers_wait_for_their_own_pool(pool):
    """More such tasks than workers: whoever waits runs other tasks meanwhile."""
    assert pool.map(use_own_pool, [pool] * 10, range(10), chunksize=1) == [
        sum(map(double, range(n))) for n in range(10)
    ]


def fibonacci(pool, n):
    if n < 2:
        return n
    later = pool.apipe(fibonacci, pool, n - 1)
    return fibonacci(pool, n - 2) + later.result()


def test_recursive_tasks(parallel_pool):
    assert parallel_pool.pipe(fibonacci, parallel_pool, 11) == 89


def deep(pool, level):
    return level if level == 0 else pool.pipe(deep, pool, level - 1) + 1


def test_deep_recursion_through_the_pool(parallel_pool):
    assert parallel_pool.pipe(deep, parallel_pool, 40) == 40


def iterate_own_pool(pool, n):
    return sum(pool.imap(double, range(n))) + sum(pool.uimap(double, range(n)))


def tree(pool, n):
    return 1 if n == 0 else sum(pool.map(tree, [pool] * 2, [n - 1] * 2))


def merge_sorted(pool, items):
    if len(items) <= 4:
        return sorted(items)
    half = len(items) // 2
    return list(heapq.merge(*pool.map(merge_sorted, [pool] * 2, [items[:half], items[half:]])))


def test_divide_and_conquer(parallel_pool):
    """Calls that wait do not pile up on a worker until it takes no more: there are far more of them than it can be inside of."""
    assert parallel_pool.apipe(tree, parallel_pool, 10).result(120) == 1024
    items = random.Random(1).sample(range(10**6), 1000)
    assert parallel_pool.apipe(merge_sorted, parallel_pool, items).result(120) == sorted(items)


@pytest.mark.parametrize("workers", ["threads:1", "local:1"])
def test_recursion_deeper_than_any_stack(workers):
    with ergon.Pool(workers) as pool:
        assert pool.apipe(deep, pool, 150).result(120) == 150
        with pytest.raises(RecursionError):
            pool.apipe(deep, pool, 5000).result(120)
        assert pool.apipe(deep, pool, 5).result(120) == 5


def test_iterators_of_the_own_pool(parallel_pool):
    assert parallel_pool.map(iterate_own_pool, [parallel_pool] * 6, [20] * 6) == [760] * 6


def test_pool_in_a_closure(parallel_pool):
    def inside(n):
        return parallel_pool.pipe(double, n)

    assert parallel_pool.map(inside, range(10), chunksize=1) == [2 * i for i in range(10)]


def fail_inside(pool):
    return pool.map(lambda x: 1 / x, [1, 0])


def test_exception_passes_through_the_floors(parallel_pool):
    with pytest.raises(ZeroDivisionError):
        parallel_pool.pipe(fail_inside, parallel_pool)
    assert parallel_pool.pipe(abs, -1) == 1


def test_a_pool_given_to_a_task_of_another(process_pool):
    """A pickled pool is a handle to its owner."""
    with ergon.ThreadPool(2) as threads:
        assert threads.pipe(use_own_pool, process_pool, 10) == 90


def make_future(pool):
    return pool.apipe(double, 21).result()


def test_futures_inside(parallel_pool):
    assert parallel_pool.map(make_future, [parallel_pool] * 8, chunksize=1) == [42] * 8


def handle_inside(pool, handle):
    return pool.pipe(sum, handle)


def test_put_handle_through_the_floors(parallel_pool):
    handle = parallel_pool.put([1, 2, 3])
    assert parallel_pool.pipe(handle_inside, parallel_pool, handle) == 6


@pytest.mark.slow
def test_inner_pools_leave_nothing(process_pool):
    import leaks

    process_pool.map(map_inside, ["processes"] * 4, [3] * 4)
    import os

    workers = {p.pid for p in leaks.descendants(os.getpid())}
    process_pool.map(map_inside, ["processes"] * 4, [3] * 4)
    after = {p.pid for p in leaks.descendants(os.getpid())}
    assert len(after) <= len(workers) + 4
