"""Results that stay on the host where they were made until somebody needs them: what crosses the link is counted."""

import os
import pathlib
import signal
import sys
import time

import ergon
import numpy
import pytest

HERE = str(pathlib.Path(ergon.__file__).resolve().parent.parent)
AGENT = f"env PYTHONPATH={HERE} {sys.executable} -m ergon._agent"
BIG = 50_000_000


def place(slots=2, name=""):
    return f"exec:env PLACE={name} {AGENT[4:]}?slots={slots}"


def link(pool, number=0):
    return pool.stats["hosts"][number]["bytes_in"]


def wait_until(true, seconds=20):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


def make(n, seed=1):
    """Numbers that cannot be packed; on average they are the seed."""
    a = numpy.random.default_rng(seed).integers(0, 1 << 64, n // 8, numpy.uint64)
    a[0] = numpy.uint64((seed * len(a) - int(a[1:].sum())) % (1 << 64))
    return a


def total(a):
    return int(a.sum())


def where():
    return os.environ["PLACE"]


def twice(a):
    return a * 2


@pytest.fixture(scope="module")
def pool():
    with ergon.Pool(place()) as p:
        p.pipe(total, make(8))
        yield p


@pytest.fixture
def two():
    with ergon.Pool(place(1, "a"), place(1, "b"), require="all") as p:
        yield p


def names(pool):
    return [h["name"] for h in pool.stats["hosts"]]


def at(pool, number):
    return pool.options(resources={"host": names(pool)[number]})


def test_what_is_used_where_it_was_made_does_not_travel(pool):
    before = link(pool)
    made = pool.submit(make, BIG)
    assert pool.submit(total, made).result() == BIG // 8
    assert pool.submit(total, pool.submit(twice, made)).result() == BIG // 4
    assert link(pool) - before < 1_000_000


def test_who_asks_for_it_gets_it(pool):
    before = link(pool)
    made = pool.submit(make, 8_000_000, 3)
    wait_until(made.done)
    assert made.successful() and not made.running() and not made.cancelled() and not made.cancel()
    assert link(pool) - before < 1_000_000
    a = made.result()
    assert a.shape == (1_000_000,) and (a == make(8_000_000, 3)).all()
    a[0] = 1  # ours
    assert 8_000_000 < link(pool) - before < 8_100_000
    assert made.result() is a


def test_it_can_be_read_here_and_there(pool):
    made = pool.submit(make, 1_000_000, 2)
    later = [pool.submit(total, made) for _ in range(8)]
    assert (made.result() == make(1_000_000, 2)).all()
    assert [f.result() for f in later] == [250_000.0] * 8
    assert pool.submit(total, made).result() == 250_000


def test_threads_that_wait_for_the_same_result_all_get_it(pool):
    """And none of them later than who is alone: what wakes them may be somebody else's by then."""
    from concurrent.futures import ThreadPoolExecutor
    from statistics import median

    took = {1: [], 4: []}
    with ThreadPoolExecutor(4) as threads:
        for i in range(30):
            for many in took:
                made = pool.submit(make, 200_000, i)
                wait_until(made.done)
                start = time.perf_counter()
                got = list(threads.map(lambda _, f=made: f.result(20), range(many)))
                took[many].append(time.perf_counter() - start)
                assert total(got[0]) == 25_000 * i and all(a is got[0] for a in got)
                del made, got
    assert median(took[4]) < 50 * median(took[1])


def test_callbacks_and_as_completed_come_with_the_result(pool):
    from concurrent import futures

    seen = []
    made = [pool.submit(make, 500_000, i) for i in range(6)]
    after = [pool.submit(total, f) for f in made]
    for f in made:
        f.add_done_callback(lambda f: seen.append(total(f.result())))
    assert [f.result() for f in after] == [62_500.0 * i for i in range(6)]
    wait_until(lambda: len(seen) == 6)
    assert sorted(seen) == [62_500.0 * i for i in range(6)]
    late = pool.submit(make, 500_000, 9)
    wait_until(late.done)
    late.add_done_callback(lambda f: seen.append("late"))
    wait_until(lambda: "late" in seen)
    with futures.ThreadPoolExecutor(2) as threads:
        assert sum(threads.map(lambda f: total(f.result()), made)) == 62_500.0 * 15


def test_await_brings_it(pool):
    import asyncio

    async def main():
        made = pool.submit(make, 700_000, 4)
        while not made.done():
            await asyncio.sleep(0.01)
        return total(await made)

    assert asyncio.run(main()) == 350_000


def test_dropped_results_leave_the_host(pool):
    """More than any host would keep at once goes through, as long as nobody holds it."""
    for _ in range(30):
        made = pool.submit(make, BIG)
        wait_until(made.done)
    del made
    before = link(pool)
    assert pool.pipe(total, make(80)) == 10
    assert link(pool) - before < 1_000_000


def test_small_results_and_exceptions_come_at_once(pool):
    small = pool.submit(make, 800)
    wait_until(small.done)
    assert total(small.result()) == 100
    failed = pool.submit(lambda: make(BIG) @ "no")
    with pytest.raises(Exception):
        failed.result()
    with pytest.raises(Exception):
        pool.submit(total, failed).result()


def test_a_task_goes_where_what_it_reads_is(two):
    made = [at(two, i).submit(make, 5_000_000, i + 1) for i in range(2)]
    for f in made:
        wait_until(f.done)
    before = [link(two, i) for i in range(2)]
    for _ in range(5):
        assert [two.submit(total, f).result() for f in made] == [625_000.0, 1_250_000.0]
    assert all(link(two, i) - before[i] < 1_000_000 for i in range(2))


def test_from_one_host_to_another(two):
    made = at(two, 0).submit(make, 5_000_000, 2)
    elsewhere = [at(two, 1).submit(total, made) for _ in range(3)]
    assert [f.result() for f in elsewhere] == [1_250_000.0] * 3
    assert at(two, 1).submit(where).result() == "b"
    assert 5_000_000 < link(two, 0) < 5_100_000  # once
    both = at(two, 1).submit(lambda a, b: total(a) + total(b), made, at(two, 0).submit(twice, made))
    assert both.result() == 3_750_000


def test_local_workers_read_it_too():
    with ergon.Pool("local:1", place(1, "a"), require="all") as pool:
        far = pool.options(resources={"host": pool.stats["hosts"][0]["name"]})
        made = far.submit(make, 2_000_000, 5)
        wait_until(made.done)
        assert {pool.submit(total, made).result() for _ in range(8)} == {1_250_000.0}
        assert sum(pool.map(lambda x: x, range(10))) == 45


def test_a_pool_that_closes_brings_them_home():
    pool = ergon.Pool(place())
    kept = [pool.submit(make, 1_000_000, i) for i in range(5)]
    pool.submit(make, 1_000_000)
    pool.close()
    pool.join()
    assert [total(f.result()) for f in kept] == [125_000.0 * i for i in range(5)]


def test_a_lost_host_takes_its_results_along(two):
    made = at(two, 0).submit(make, 2_000_000)
    safe = at(two, 1).submit(make, 2_000_000)
    wait_until(lambda: made.done() and safe.done())
    os.kill(two.stats["hosts"][0]["pid"], signal.SIGKILL)
    with pytest.raises(ergon.errors.WorkerLost, match="host .* was lost"):
        made.result(60)
    with pytest.raises(ergon.errors.WorkerLost, match="host .* was lost"):
        at(two, 1).submit(total, made).result(60)
    assert at(two, 1).submit(total, safe).result(60) == 250_000
    assert two.submit(total, safe).result(60) == 250_000


def test_a_pool_that_is_terminated_says_so():
    pool = ergon.Pool(place())
    kept = pool.submit(make, 1_000_000)
    wait_until(kept.done)
    pool.terminate()
    pool.join()
    with pytest.raises(ergon.errors.ErgonError, match="terminated"):
        kept.result()
