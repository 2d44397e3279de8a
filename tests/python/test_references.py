"""Nothing that is done with pools over and over makes the process grow: no reference, no block of memory."""

import asyncio

import ergon
import pytest
import refleaks
from ergon import errors

pytestmark = pytest.mark.skipif(
    not (refleaks.DEBUG_BUILD or refleaks.COUNTS_BLOCKS),
    reason="with PYTHONMALLOC=malloc only bytes can be counted, and caches that fill look like leaks",
)


def double(x):
    return x + x


def fail(x):
    raise ValueError(x)


class Odd:
    """Has no equal and cannot be pickled by the worker that returns it."""

    def __reduce__(self):
        raise RuntimeError("will not travel")


def odd(x):
    return Odd()


@pytest.fixture(scope="module", params=["ProcessPool", "ThreadPool", "SerialPool"])
def pool(request):
    with getattr(ergon, request.param)(*([] if request.param == "SerialPool" else [2])) as pool:
        yield pool


def pipe(pool):
    assert pool.pipe(double, [1]) == [1, 1]


def keywords(pool):
    assert pool.pipe(dict, a=1, b=[2]) == {"a": 1, "b": [2]}


def closure(pool):
    extra = [1]
    assert pool.pipe(lambda x: [*extra, x], 2) == [1, 2]


def apipe(pool):
    assert pool.apipe(double, "a").result() == "aa"


def forgotten(pool):
    pool.apipe(double, [2])
    pool.pipe(abs, 1)


def map_(pool):
    assert pool.map(double, [[1], [2], [3]]) == [[1, 1], [2, 2], [3, 3]]


def imap(pool):
    assert list(pool.imap(double, range(20))) == list(range(0, 40, 2))


def imap_left_early(pool):
    values = pool.imap(double, range(50))
    assert next(values) == 0
    del values
    pool.pipe(abs, 1)


def uimap(pool):
    assert sorted(pool.uimap(double, range(20))) == list(range(0, 40, 2))


def amap(pool):
    assert pool.amap(double, range(5)).result() == [0, 2, 4, 6, 8]


def graph(pool):
    first = pool.submit(double, 1)
    second = pool.submit(double, first)
    assert pool.submit(max, first, second).result() == 4


def exception(pool):
    with pytest.raises(ValueError):
        pool.pipe(fail, 1)


def exception_in_map(pool):
    with pytest.raises(ValueError):
        pool.map(fail, range(5))


def failed_predecessor(pool):
    with pytest.raises(ValueError):
        pool.submit(double, pool.submit(fail, 1)).result()


def callback(pool):
    seen = []
    future = pool.apipe(double, 1)
    future.add_done_callback(seen.append)
    assert future.result() == 2
    pool.pipe(abs, 1)


def awaited(pool):
    async def main():
        return await pool.apipe(double, 3)

    assert asyncio.run(main()) == 6


def put(pool):
    assert pool.pipe(len, pool.put([1, 2, 3])) == 3


@pytest.mark.parametrize(
    "use",
    [pipe, keywords, closure, apipe, forgotten, map_, imap, imap_left_early, uimap, amap, graph, exception,
     exception_in_map, failed_predecessor, callback, awaited, put],
)  # fmt: skip
def test_use_does_not_grow(pool, use):
    if use is put and not hasattr(pool, "put"):
        pytest.skip("this pool has no put")
    use_pool = lambda: use(pool)  # noqa: E731
    use_pool.__name__ = use.__name__
    # Every pool slot that was used once keeps a little; how soon all were is a matter of chance.
    refleaks.check(use_pool, warm_up=400, rounds=100)


def test_what_cannot_travel_does_not_grow():
    with ergon.ProcessPool(1) as pool:

        def result():
            with pytest.raises((errors.ErgonError, RuntimeError)):
                pool.pipe(odd, 1)

        def argument():
            with pytest.raises((errors.ErgonError, RuntimeError)):
                pool.pipe(double, Odd())

        refleaks.check(result)
        refleaks.check(argument)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "warm_up"), [("ProcessPool", 20), ("ThreadPool", 400)])
def test_pools_opened_and_closed_do_not_grow(kind, warm_up):
    def open_and_close():
        with getattr(ergon, kind)(1) as pool:
            assert pool.map(double, [1, 2]) == [2, 4]

    refleaks.check(open_and_close, runs=10, warm_up=warm_up)
