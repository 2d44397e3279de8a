"""The end of a job when one of its hosts is slow, or stands still: what is pure is begun anew by whoever is free."""

import contextlib
import os
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
