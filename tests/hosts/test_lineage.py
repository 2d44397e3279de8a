"""Results that were lost with the host that had them: what is pure, or has retries left, is made again, and nobody notices."""

import os
import pathlib
import signal
import threading
import time
from collections import Counter

import ergon
import numpy
import pytest
from ergon.errors import WorkerLost
from test_between_hosts import free_range
from test_between_hosts import place as peer
from test_results_stay import at, link, place, wait_until

N = 400_000


def note(path, name):
    with open(path, "a") as f:
        f.write(f"{name}\n")


def first(path, name, n=N):
    note(path, name)
    return numpy.random.default_rng(len(name)).integers(0, 1 << 62, n // 8)


def plus(path, name, *arrays):
    note(path, name)
    return sum(arrays) + 1


def total(path, name, *arrays):
    note(path, name)
    return int(sum(a.sum() & 0xFFFFFF for a in arrays))


def expected(name, steps=0, n=N):
    return int((numpy.random.default_rng(len(name)).integers(0, 1 << 62, n // 8) + steps).sum() & 0xFFFFFF)


def runs(path):
    return Counter(pathlib.Path(path).read_text().split())


def kill(pool, number):
    os.kill(pool.stats["hosts"][number]["pid"], signal.SIGKILL)


def gone(pool, number):
    return pool.stats["hosts"][number]["state"] != "up"


@pytest.fixture
def log(tmp_path):
    return str(tmp_path / "runs")


@pytest.fixture
def two():
    with ergon.Pool(place(1, "a"), place(1, "b"), require="all") as pool:
        yield pool


def held_at(pool, log, name="x", **options):
    """The future of a result that is at whichever host made it, and that host's number."""
    before = [h["tasks"] for h in pool.stats["hosts"]]
    made = pool.options(**(options or {"pure": True})).submit(first, log, name)
    wait_until(made.done)
    after = [h["tasks"] for h in pool.stats["hosts"]]
    return made, next(i for i in range(len(after)) if after[i] > before[i])


def test_before_somebody_asks(two, log):
    made, where = held_at(two, log)
    kill(two, where)
    wait_until(lambda: gone(two, where))
    time.sleep(0.2)
    assert runs(log) == {"x": 1}  # nobody has asked
    assert int(made.result(60).sum() & 0xFFFFFF) == expected("x")
    assert runs(log) == {"x": 2}


def test_retries_are_used_up(two, log):
    """One run more is allowed, and taken; what comes home is lost no more."""
    made, where = held_at(two, log, retries=1)
    kill(two, where)
    wait_until(lambda: gone(two, where))
    assert two.submit(total, log, "sum", made).result(60) == expected("x")
    assert runs(log) == {"x": 2, "sum": 1}


def test_what_may_not_run_twice_is_lost(two, log):
    made, where = held_at(two, log, retries=0)
    kill(two, where)
    with pytest.raises(WorkerLost, match="host .* was lost, and the task's result with it"):
        made.result(60)
    assert runs(log) == {"x": 1}


def test_while_readers_wait(two, log):
    """Some wait for it here, some are calls elsewhere; each notices nothing, and it is made once."""
    made, where = held_at(two, log)
    os.kill(two.stats["hosts"][where]["pid"], signal.SIGSTOP)  # so that nobody gets it before
    got = []
    threads = [threading.Thread(target=lambda: got.append(made.result(60))) for _ in range(3)]
    for t in threads:
        t.start()
    calls = [at(two, 1 - where).submit(total, log, "sum", made) for _ in range(3)]
    time.sleep(0.2)
    kill(two, where)
    for t in threads:
        t.join(60)
    assert [int(a.sum() & 0xFFFFFF) for a in got] == [expected("x")] * 3
    assert [c.result(60) for c in calls] == [expected("x")] * 3
    assert runs(log) == {"x": 2, "sum": 3}


def sleep_until(path):
    while not os.path.exists(path):
        time.sleep(0.005)


def chain(pool, log):
    made = [pool.options(pure=True).submit(first, log, "x")]
    for name in "yz":
        made.append(pool.options(pure=True).submit(plus, log, name, made[-1]))
    wait_until(lambda: all(f.done() for f in made))
    return made


def test_a_chain_on_the_lost_host(two, log):
    made = chain(two, log)
    where = max(range(2), key=lambda i: two.stats["hosts"][i]["tasks"])
    assert two.stats["hosts"][where]["tasks"] == 3 and link(two, where) < N
    kill(two, where)
    wait_until(lambda: gone(two, where))
    assert two.submit(total, log, "sum", made[-1]).result(60) == expected("x", 2)
    assert runs(log) == {"x": 2, "y": 2, "z": 2, "sum": 1}
    assert [int(f.result(60).sum() & 0xFFFFFF) for f in made] == [expected("x", i) for i in range(3)]
    assert runs(log) == {"x": 2, "y": 2, "z": 2, "sum": 1}


@pytest.mark.parametrize("asked", [False, True])
def test_one_worker_is_left_and_it_waits_for_the_value(asked, log, tmp_path):
    """It makes it itself."""
    free = str(tmp_path / "free")
    with ergon.Pool("local:1", place(1, "a")) as pool:
        assert pool._wait_up(2, 60)
        here = pool.options(resources={"host": "local"})
        busy = here.submit(sleep_until, free)
        made = chain(pool, log)
        assert pool.stats["hosts"][0]["tasks"] == 3
        os.kill(pool.stats["hosts"][0]["pid"], signal.SIGSTOP if asked else signal.SIGKILL)
        if not asked:
            wait_until(lambda: gone(pool, 0))
        calls = [here.submit(total, log, "sum", made[-1]) for _ in range(2)]
        pathlib.Path(free).touch()
        busy.result(60)
        if asked:  # the worker waits for it already
            time.sleep(0.3)
            kill(pool, 0)
        assert [c.result(60) for c in calls] == [expected("x", 2)] * 2
        assert runs(log) == {"x": 2, "y": 2, "z": 2, "sum": 2}


def test_futures_that_nobody_holds_any_more(two, log):
    """The last of a chain holds what it was made from; while it is made again it may be dropped as well."""
    made = chain(two, log)[-1]
    where = max(range(2), key=lambda i: two.stats["hosts"][i]["tasks"])
    kill(two, where)
    wait_until(lambda: gone(two, where))
    made.add_done_callback(lambda f: None)  # asks
    del made
    assert two.map(abs, range(-1000, 0)) == list(range(1000, 0, -1))
    again = chain(two, log)
    assert int(again[-1].result(60).sum() & 0xFFFFFF) == expected("x", 2)


def test_what_cannot_be_made_again_says_why(two, log):
    made, where = held_at(two, log)
    late = two.options(pure=True).submit(fails_again, log, made)
    wait_until(late.done)
    kill(two, where)
    with pytest.raises(WorkerLost, match="made again: it raised an exception"):
        late.result(60)
    assert int(made.result(60).sum() & 0xFFFFFF) == expected("x")


def fails_again(log, array):
    note(log, "once")
    if runs(log)["once"] > 1:
        raise ValueError("again")
    return array + 1


def test_the_last_host_is_lost(log):
    with ergon.Pool(place(1, "a")) as pool:
        made, _ = held_at(pool, log)
        kill(pool, 0)
        with pytest.raises(WorkerLost, match="host .* was lost"):
            made.result(60)


def test_a_pool_that_closes_makes_what_is_missing(two, log):
    made = chain(two, log)
    where = max(range(2), key=lambda i: two.stats["hosts"][i]["tasks"])
    kill(two, where)
    wait_until(lambda: gone(two, where))
    two.close()
    two.join()
    assert [int(f.result().sum() & 0xFFFFFF) for f in made] == [expected("x", i) for i in range(3)]
    assert runs(log) == {"x": 2, "y": 2, "z": 2}


def test_a_pool_that_is_terminated_meanwhile(two, log):
    made = chain(two, log)
    kill(two, 0)
    kill(two, 1)
    two.terminate()
    with pytest.raises(ergon.errors.ErgonError):
        made[-1].result(60)


@pytest.mark.slow
def test_while_another_host_fetches_it(log):
    """Straight from the one that has it, which dies in the middle."""
    big = 100_000_000
    ports = free_range()
    with ergon.Pool(peer("a", ports), peer("b", ports), require="all") as pool:
        made = pool.options(pure=True).submit(first, log, "x", big)
        wait_until(made.done)
        where = max(range(2), key=lambda i: pool.stats["hosts"][i]["tasks"])
        calls = [at(pool, 1 - where).submit(total, log, "sum", made) for _ in range(2)]
        time.sleep(0.05)
        kill(pool, where)
        assert [c.result(60) for c in calls] == [expected("x", n=big)] * 2
        assert runs(log)["sum"] == 2 and runs(log)["x"] <= 2


def test_what_is_kept_is_bounded(log):
    """More arguments than that, and results come home; those are not kept then."""
    with ergon.Pool(place(1, "a"), lineage=1_000_000) as pool:
        small = [pool.options(pure=True).submit(first, log, "x") for _ in range(3)]
        wait_until(lambda: all(f.done() for f in small))
        assert link(pool) < N
        argument = numpy.ones(300_000)
        made = pool.options(pure=True).submit(plus, log, "y", argument)
        wait_until(lambda: made.done() and link(pool) > argument.nbytes)
        kill(pool, 0)
        assert (made.result(60) == 2).all()
    with pytest.raises(ValueError, match="lineage= is a number of bytes"):
        ergon.Pool(place(1, "a"), lineage="1G")
