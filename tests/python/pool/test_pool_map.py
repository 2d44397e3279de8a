"""map and its relatives give what the built-in map gives, on every kind of pool."""

import functools
import itertools
import operator
import os
import threading
import time

import pytest


def square(x):
    return x * x


def add3(a, b, c):
    return a + 10 * b + 100 * c


def slow_first(x):
    """The first item takes longest, so that completion order differs from input order."""
    time.sleep(0.2 if x == 0 else 0.001)
    return x


def test_map_equals_builtin(pool):
    assert pool.map(square, range(1000)) == list(map(square, range(1000)))


def test_map_returns_a_list(pool):
    result = pool.map(str, (1, 2))
    assert type(result) is list and result == ["1", "2"]


@pytest.mark.parametrize("method", ["map", "imap", "uimap"])
def test_of_nothing(pool, method):
    assert list(getattr(pool, method)(square, [])) == []
    assert list(getattr(pool, method)(square, iter(()))) == []


def test_amap_of_nothing(pool):
    assert pool.amap(square, []).result(60) == []


def test_several_iterables(pool):
    args = [range(50), iter(range(50, 100)), [7] * 50]
    assert pool.map(add3, range(50), iter(range(50, 100)), [7] * 50) == list(
        map(add3, range(50), range(50, 100), [7] * 50)
    )
    assert list(pool.imap(add3, *args)) == list(map(add3, range(50), range(50, 100), [7] * 50))


@pytest.mark.parametrize("method", ["map", "imap", "uimap"])
def test_shortest_wins(pool, method):
    result = getattr(pool, method)(add3, range(5), itertools.count(), iter([1, 2, 3]))
    assert sorted(result) == list(map(add3, range(5), itertools.count(), [1, 2, 3]))


def test_amap_shortest_wins(pool):
    assert pool.amap(add3, range(5), range(9), [1, 2, 3]).result(60) == list(map(add3, range(5), range(9), [1, 2, 3]))


def test_without_iterables(pool):
    for method in (pool.map, pool.imap, pool.uimap, pool.amap):
        with pytest.raises(TypeError):
            method(square)


def test_not_iterable(pool):
    for method in (pool.map, pool.imap, pool.uimap, pool.amap):
        with pytest.raises(TypeError):
            method(square, 5)


@pytest.mark.parametrize("chunksize", [1, 2, 7, 100, 10**6])
def test_chunksize_changes_nothing(pool, chunksize):
    expected = list(map(square, range(101)))
    assert pool.map(square, range(101), chunksize=chunksize) == expected
    assert list(pool.imap(square, range(101), chunksize=chunksize)) == expected
    assert sorted(pool.uimap(square, range(101), chunksize=chunksize)) == expected
    assert pool.amap(square, range(101), chunksize=chunksize).result(60) == expected


def test_bad_options(pool):
    for wrong in ({"chunksize": -1}, {"chunksize": "many"}, {"no_such_option": 1}):
        with pytest.raises((TypeError, ValueError)):
            pool.map(square, [1], **wrong)


def test_imap_is_an_iterator(pool):
    results = pool.imap(square, range(3))
    assert iter(results) is results
    assert [next(results), next(results), next(results)] == [0, 1, 4]
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(results)


def test_imap_keeps_order(parallel_pool):
    assert list(parallel_pool.imap(slow_first, range(20), chunksize=1)) == list(range(20))


def wait_for_gate(gate, i):
    while i == 0 and not os.path.exists(gate):
        time.sleep(0.005)
    return i


def test_uimap_gives_the_first_that_is_done(parallel_pool, tmp_path):
    gate = tmp_path / "gate"
    results = parallel_pool.uimap(wait_for_gate, [str(gate)] * 20, range(20), chunksize=1)
    first = next(results)
    gate.touch()
    assert first != 0
    assert sorted([first, *results]) == list(range(20))


def test_starmap(pool):
    assert pool.starmap(add3, [(1, 2, 3), [4, 5, 6], (7, 8, 9)]) == [321, 654, 987]


def test_starmap_of_a_generator(pool):
    assert pool.starmap(pow, ((i, 2) for i in range(100))) == [i**2 for i in range(100)]


def test_map_reduce(pool):
    assert pool.map_reduce(square, operator.add, range(1000)) == sum(map(square, range(1000)))


def test_map_reduce_several_iterables_and_order(pool):
    """The reduction need not commute: it happens in order."""
    words = [str(i) for i in range(300)]
    expected = functools.reduce(operator.add, map(operator.add, words, words[1:]))
    assert pool.map_reduce(operator.add, operator.add, words, words[1:]) == expected


def test_map_reduce_of_nothing(pool):
    with pytest.raises(TypeError):
        pool.map_reduce(square, operator.add, [])


def failing_after(n, error):
    yield from range(n)
    raise error


class Broken(Exception):
    pass


@pytest.mark.parametrize("n", [0, 1, 100])
def test_map_of_a_generator_that_raises(pool, n):
    with pytest.raises(Broken, match="half-way"):
        pool.map(square, failing_after(n, Broken("half-way")))
    assert pool.map(square, [3]) == [9]


@pytest.mark.parametrize("n", [0, 1, 100])
def test_imap_of_a_generator_that_raises(pool, n):
    """As with the built-in map: first the results of what it gave, then its exception."""
    got = []
    with pytest.raises(Broken, match="half-way"):
        for result in pool.imap(square, failing_after(n, Broken("half-way"))):
            got.append(result)
    assert got == list(map(square, range(n)))
    assert pool.map(square, [3]) == [9]


def test_uimap_of_a_generator_that_raises(pool):
    got = []
    with pytest.raises(Broken):
        for result in pool.uimap(square, failing_after(50, Broken())):
            got.append(result)
    assert sorted(got) == list(map(square, range(50)))


@pytest.mark.parametrize("method", ["imap", "uimap"])
def test_infinite_generator(pool, method):
    results = getattr(pool, method)(square, itertools.count())
    first = sorted(itertools.islice(results, 500))
    if method == "imap":
        assert first == [i * i for i in range(500)]
    else:
        assert len(set(first)) == 500
    del results
    assert pool.map(square, [3]) == [9]


def slow_length(block):
    time.sleep(0.01)
    return len(block)


@pytest.mark.parametrize("method", ["imap", "uimap"])
def test_look_ahead_is_bounded(parallel_pool, method):
    """Items of 8 MB: the look-ahead is 64 MB or four tasks a worker."""
    pulled = 0

    def blocks():
        nonlocal pulled
        for i in itertools.count():
            pulled += 1
            yield bytes([i % 256]) * (8 << 20)

    results = getattr(parallel_pool, method)(slow_length, blocks())
    for taken in range(1, 6):
        assert next(results) == 8 << 20
        assert pulled - taken <= 16, f"{pulled} items taken from the generator for {taken} results"
    del results


def test_look_ahead_waits_for_the_consumer(parallel_pool):
    """Nobody takes results: the generator is not run dry."""
    pulled = 0

    def blocks():
        nonlocal pulled
        while True:
            pulled += 1
            yield pulled.to_bytes(4, "big") * (1 << 20)

    results = parallel_pool.imap(len, blocks())
    next(results)
    time.sleep(0.3)
    first = pulled
    time.sleep(0.3)
    assert pulled == first, "the generator is pulled although nobody takes results"
    del results


def test_generators_run_in_the_calling_thread(parallel_pool):
    """User code that produces items never runs behind the user's back."""
    threads = set()

    def items():
        for i in range(200):
            threads.add(threading.get_ident())
            yield i

    assert len(parallel_pool.map(square, items())) == 200
    assert len(list(parallel_pool.imap(square, items()))) == 200
    assert len(list(parallel_pool.uimap(square, items()))) == 200
    assert parallel_pool.amap(square, items()).result(60)[-1] == 199 * 199
    assert threads == {threading.get_ident()}


def test_imap_item_is_taken_when_it_is_yielded(separate_pool):
    """A generator may yield the same list again and again, changed."""
    state = []

    def growing():
        for i in range(100):
            state.append(i)
            yield state

    assert list(separate_pool.imap(sum, growing())) == [sum(range(i + 1)) for i in range(100)]


def test_two_iterators_at_once(pool):
    squares = pool.imap(square, range(300))
    strings = pool.imap(str, range(300))
    for i, (number, text) in enumerate(zip(squares, strings)):
        assert number == i * i and text == str(i)


def test_abandoned_iterators(pool):
    for _ in range(30):
        results = pool.imap(square, range(1000))
        next(results)
        del results
    assert pool.map(square, range(100)) == list(map(square, range(100)))


def test_many_items(parallel_pool):
    assert sum(parallel_pool.map(square, range(200_000))) == sum(map(square, range(200_000)))


def test_large_results_come_in_order(parallel_pool):
    results = parallel_pool.map(lambda i: bytes([i]) * 200_000, range(40))
    assert [r[0] for r in results] == list(range(40))
    assert all(len(r) == 200_000 for r in results)


def uneven(milliseconds):
    time.sleep(milliseconds / 1000)
    return milliseconds


def first_waits_for_last(i, path):
    if i == 299:
        open(path, "w").close()
    deadline = time.monotonic() + 30
    while i == 0 and not os.path.exists(path):
        if time.monotonic() > deadline:
            return None
        time.sleep(0.001)
    return i


@pytest.mark.parametrize("chunksize", [None, 1])
def test_the_rest_goes_on_behind_a_slow_first_item(parallel_pool, tmp_path, chunksize):
    """However many end behind it, and though nothing can be cut off it."""
    path = str(tmp_path / "mark")
    results = parallel_pool.map(first_waits_for_last, range(300), [path] * 300, chunksize=chunksize)
    assert results == list(range(300))


def test_uneven_tasks(parallel_pool):
    work = [40 if i % 50 == 0 else 0 for i in range(400)]
    assert parallel_pool.map(uneven, work) == work


def test_builtin_and_bound_callables(pool):
    assert pool.map(len, ["", "a", "ab"]) == [0, 1, 2]
    assert pool.map(str.upper, ["a", "b"]) == ["A", "B"]
    assert pool.map("x".join, [["1", "2"], ["3"]]) == ["1x2", "3"]
    assert pool.map(functools.partial(pow, 2), range(10)) == [2**i for i in range(10)]
    assert pool.map(operator.itemgetter(1), [(1, 2), (3, 4)]) == [2, 4]
    assert pool.map(complex, [1, 2], [3, 4]) == [1 + 3j, 2 + 4j]


def test_not_callable(pool):
    with pytest.raises(TypeError):
        pool.map(7, [1, 2])
