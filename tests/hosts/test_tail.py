"""The end of a job when one of its hosts is slow, or stands still: what is pure is begun anew by whoever is free."""

import contextlib
import os
import pathlib
import signal
import threading
import time

import ergon
import pytest
from test_places import AGENT, host, wait_until

SLOW = 30.0


@ergon.functional
def at_own_pace(item):
    time.sleep(float(os.environ.get("PACE", "0.01")))
    return item, os.environ.get("HERE", "") and os.getpid()


@ergon.schedule
def job(n):
    out = []
    for i in range(n):
        out.append(at_own_pace(i))
    return out


@ergon.functional
def long_here(item):
    time.sleep(1.5 if item == 3 else 0.01)
    return item


@ergon.schedule
def long_ones(n):
    return [long_here(i) for i in range(n)]


@pytest.fixture
def workers():
    """Calls of functionals go there."""
    yield lambda *places: ergon.configure(workers=list(places))
    ergon.shutdown()
    ergon.configure(workers=None)


def timed(call, *args):
    begin = time.monotonic()
    result = call(*args)
    return result, time.monotonic() - begin


def test_only_what_is_pure_is_begun_anew():
    """A call of a pool runs once, however slow its host is."""
    with ergon.Pool("local:1", f"exec:env PACE=1.5 HERE=1 {AGENT}?slots=1") as pool:
        assert pool._wait_up(2, 30)
        out = [one.result(60) for one in [pool.apipe(at_own_pace, i) for i in range(40)]]
        assert [item for item, _ in out] == list(range(40))
        assert any(pid for _, pid in out)


@pytest.mark.slow
def test_a_host_that_is_always_slow(workers):
    """It has begun some when the others have done all the rest; nobody waits for it."""
    workers("local:2", f"exec:env PACE={SLOW} {AGENT}?slots=2")
    assert [at_own_pace(i)[0] for i in range(2)] == [0, 1]
    out, took = timed(job, 400)
    assert [item for item, _ in out] == list(range(400))
    assert took < SLOW * 0.8


@pytest.mark.slow
def test_workers_that_stand_still(workers):
    """Their host is well, and answers; they are stopped in the middle of what they run."""
    workers("local:2", f"exec:env HERE=1 {AGENT}?slots=2")
    there = set()

    def found():
        there.update(pid for _, pid in job(60) if pid)
        return len(there) == 2

    wait_until(found, 60)
    pool = ergon._schedule._pool()
    stopper = threading.Timer(0.3, lambda: [os.kill(pid, signal.SIGSTOP) for pid in there])
    stopper.start()
    try:
        out, took = timed(job, 400)
        stopper.join()
        assert [item for item, _ in out] == list(range(400))
        assert took < 20  # pools give workers that stand still 30 seconds
    finally:
        for pid in there:
            with contextlib.suppress(ProcessLookupError):  # who cannot be interrupted is killed
                os.kill(pid, signal.SIGCONT)
    assert [item for item, _ in job(60)] == list(range(60))
    wait_until(lambda: host(pool)["leased"] == 0)


def test_tasks_that_are_long_by_themselves(workers):
    """They are begun anew early if at all, once, and what they give is there once."""
    workers("local:1", f"exec:{AGENT}?slots=1")
    for _ in range(3):
        out, took = timed(long_ones, 40)
        assert out == list(range(40)) and took < 10


# --- calls of pools: pure=True --------------------------------------------------------------------------------------


def item_here(item, path):
    """Its item; where STANDS is set, the first worker that comes to one tells its pid and stands still in the middle."""
    time.sleep(0.002)
    if os.environ.get("STANDS") and item % 25 == 10:
        with contextlib.suppress(FileExistsError), open(path, "x") as f:
            f.write(str(os.getpid()))
            f.flush()
            os.kill(os.getpid(), signal.SIGSTOP)
    return item


def apipes(pool, items, path):
    calls = [pool.options(pure=True).apipe(item_here, i, path) for i in items]
    return [call.result(60) for call in calls]


def mapped(pool, items, path):
    return pool.map(item_here, items, [path] * len(items), pure=True)


def mapped_in_chunks(pool, items, path):
    return pool.map(item_here, items, [path] * len(items), pure=True, chunksize=25)


def mapped_lazily(pool, items, path):
    return list(pool.imap(item_here, items, [path] * len(items), pure=True))


def mapped_unordered(pool, items, path):
    return sorted(pool.uimap(item_here, items, [path] * len(items), pure=True))


@pytest.mark.parametrize("calls", [apipes, mapped, mapped_in_chunks, mapped_lazily, mapped_unordered])
def test_pure_calls_of_a_pool_do_not_wait_for_who_stands_still(calls, tmp_path):
    """The worker is stopped in the middle of a call; whoever is free makes it, and each result is there once."""
    path = str(tmp_path / "pid")
    with ergon.Pool("local:1", f"exec:env STANDS=1 {AGENT}?slots=1") as pool:
        assert pool._wait_up(2, 30)
        try:
            out, took = timed(calls, pool, range(600), path)
            assert out == list(range(600))
            assert os.path.exists(path) and took < 20  # pools give workers that stand still 30 seconds
        finally:
            if os.path.exists(path):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pathlib.Path(path).read_text()), signal.SIGCONT)
        wait_until(lambda: host(pool)["leased"] == 0)
        assert calls(pool, range(50), path) == list(range(50))


def dies_once(item, path, by=signal.SIGKILL):
    if item == 7:
        with contextlib.suppress(FileExistsError), open(path, "x"):
            os.kill(os.getpid(), by)
    return item


@pytest.mark.parametrize("where", ["local:2", f"exec:{AGENT}?slots=2"])
def test_pure_calls_are_made_again_without_retries(where, tmp_path):
    with ergon.Pool(where) as pool:
        for i, pure in enumerate((True, False)):
            path = [str(tmp_path / f"{i}{n}") for n in range(4)]
            expected = contextlib.nullcontext() if pure else pytest.raises(ergon.errors.WorkerLost)
            with expected:
                assert pool.map(dies_once, range(40), path[:1] * 40, pure=pure) == list(range(40))
            with expected:
                assert pool.map(dies_once, range(40), path[1:2] * 40, pure=pure, chunksize=10) == list(range(40))
            with expected:
                assert pool.options(pure=pure).pipe(dies_once, 7, path[2]) == 7
            with expected:
                assert pool.options(pure=pure).submit(dies_once, 7, path[3]).result(60) == 7


def kills(_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_pure_call_that_kills_its_workers_is_given_up():
    with ergon.Pool("local:2") as pool:
        with pytest.raises(ergon.errors.WorkerLost):
            pool.options(pure=True).pipe(kills, 1)
        with pytest.raises(ergon.errors.WorkerLost):
            pool.map(kills, [1, 2], pure=True, chunksize=2)
        assert pool.pipe(abs, -1) == 1


def test_pure_calls_survive_their_host(tmp_path):
    """It is killed in the middle; nothing was allowed to be retried, and nothing is lost."""
    with ergon.Pool("local:1", f"exec:{AGENT}?slots=2") as pool:
        assert pool._wait_up(2, 30)
        path = str(tmp_path / "none")
        lazy = pool.uimap(item_here, range(800), [path] * 800, pure=True)
        calls = [pool.options(pure=True).submit(item_here, i, path) for i in range(400)]
        out = [next(lazy) for _ in range(50)]
        os.kill(host(pool)["pid"], signal.SIGKILL)
        assert sorted(out + list(lazy)) == list(range(800))
        assert [call.result(60) for call in calls] == list(range(400))


def test_functionals_elsewhere_see_what_the_program_changes(workers, tmp_path):
    """The environment goes along as what has changed; the folder cannot, so those calls are made here."""
    workers(f"exec:env HERE=1 {AGENT}?slots=1")

    @ergon.functional
    def look():
        return os.environ.get("ERGON_TEST_WORD"), os.getcwd(), "HERE" in os.environ

    @ergon.schedule
    def program(names):
        found = []
        for name in names:
            os.environ["ERGON_TEST_WORD"] = name
            found.append(look())
        os.environ.pop("ERGON_TEST_WORD")
        found.append(look())
        os.chdir(tmp_path)
        found.append(look())
        return found

    folder = os.getcwd()
    try:
        found = program("abc")
    finally:
        os.chdir(folder)
    assert [one[0] for one in found] == ["a", "b", "c", None, None]
    assert found[-1][1] == str(tmp_path)
