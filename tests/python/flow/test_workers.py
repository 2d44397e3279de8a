"""The workers functionals run on: what they have before their first call."""

import os
import signal
import sys
import time

import ergon
import numpy
import pytest
from ergon import _schedule, functional, schedule
from ergon.errors import WorkerLost

assert numpy.float64  # this program has NumPy


@pytest.fixture(autouse=True, scope="module")
def workers():
    ergon.configure(workers=[{"type": "multicore", "cores": 3}])
    yield
    ergon.configure()


def _names(x):
    time.sleep(0.02)
    return os.getpid(), os.getppid(), "numpy" in sys.modules


def _draw(x):
    time.sleep(0.02)
    return os.getpid(), float(numpy.random.rand())


def _blas(n):
    a = numpy.full((n, n), 0.5)
    return float((a @ a).sum())


names, draw, blas = functional(_names), functional(_draw), functional(_blas)


@schedule
def each(f, values):
    return [f(x) for x in values]


def test_numpy_is_there_before_the_first_call():
    found = each(names, range(6))
    assert all(has for _, _, has in found)


def test_workers_do_not_draw_the_same_random_numbers():
    found = each(draw, range(9))
    assert len({value for _, value in found}) == 9


def test_matrices_are_multiplied_behind_the_fork():
    assert each(blas, [200, 300, 200]) == [200**3 / 4, 300**3 / 4, 200**3 / 4]


def test_a_killed_worker_is_replaced_by_one_that_has_numpy():
    each(names, range(3))
    pool = _schedule._pool()
    pid = pool.stats["workers"][0]["pid"]
    os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 20
    while any(w["pid"] == pid or w["state"] != "idle" for w in pool.stats["workers"]) and time.monotonic() < end:
        time.sleep(0.01)
    found = each(names, range(9))
    assert all(has for _, _, has in found) and pid not in {p for p, _, _ in found}


def test_workers_that_never_come_up_cost_no_result():
    """Whoever starts a worker finds it killed: the pool gives up, the calls are made here, the next session has a pool."""
    import threading

    each(names, range(3))
    stop, kills = threading.Event(), []

    def killer():
        while not stop.wait(0.002):
            current = _schedule._current
            for worker in current[0].stats["workers"] if current else ():
                if worker.get("pid"):
                    try:
                        os.kill(worker["pid"], signal.SIGKILL)
                        kills.append(worker["pid"])
                    except ProcessLookupError:
                        pass

    thread = threading.Thread(target=killer)
    thread.start()
    try:
        found, lost = [], 0
        while len(found) < 3:
            try:
                found.append(each(names, range(12)))
            except WorkerLost:  # four workers got as far as this call, and nobody knows of one of them how it ended
                lost += 1
                assert lost < 20
    finally:
        stop.set()
        thread.join()
    assert [len(pids) for pids in found] == [12, 12, 12] and len(set(kills)) > 3
    assert os.getpid() in {pid for pid, _, _ in sum(found, [])}
    assert os.getpid() not in {pid for pid, _, _ in each(names, range(12))}
