"""The zygote is killed: workers go on, a new one is started when one is needed."""

import os
import signal
import time

import ergon
import leaks
import pytest
from ergon.errors import WorkerLost


def short(i):
    time.sleep(0.002)
    return i


def test_pool_goes_on_without_its_zygote(pool, zygote, workers):
    before = workers(pool)
    os.kill(zygote(pool), signal.SIGKILL)
    assert pool.map(short, range(100), chunksize=1) == list(range(100))
    assert set(workers(pool)) == set(before)


def test_under_load(pool, zygote):
    futures = [pool.apipe(short, i) for i in range(300)]
    os.kill(pool.pipe(os.getppid), signal.SIGKILL)
    assert [f.result(60) for f in futures] == list(range(300))


def test_worker_lost_after_its_zygote(pool, zygote, workers):
    old = zygote(pool)
    victims = workers(pool)
    os.kill(old, signal.SIGKILL)
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    assert pool.map(short, range(50)) == list(range(50))
    assert zygote(pool) != old and leaks.read_process(zygote(pool))


def test_busy_worker_lost_after_its_zygote(pool, zygote, tmp_path, until):
    def hold(path):
        open(path, "w").write(str(os.getpid()))
        time.sleep(600)

    path = tmp_path / "pid"
    future = pool.apipe(hold, str(path))
    until(lambda: path.exists() and path.read_text())
    os.kill(zygote(pool), signal.SIGKILL)
    os.kill(int(path.read_text()), signal.SIGKILL)
    with pytest.raises(WorkerLost):
        future.result(60)
    assert pool.map(short, range(20)) == list(range(20))


def test_new_pool_after_the_zygote_died(pool, zygote):
    os.kill(zygote(pool), signal.SIGKILL)
    with ergon.ProcessPool(2) as other:
        assert other.map(short, range(20)) == list(range(20))
    assert pool.map(short, range(20)) == list(range(20))


def test_again_and_again():
    for _ in range(5):
        with ergon.ProcessPool(1) as pool:
            os.kill(pool.pipe(os.getppid), signal.SIGKILL)
            assert pool.pipe(short, 1) == 1


def test_killed_while_it_starts():
    """Its first moments: the pool starts another, or says why it cannot."""
    me = os.getpid()
    for delay in (0, 0.002, 0.005, 0.01, 0.02):
        ergon.shutdown()
        known = {p.pid for p in leaks.descendants(me)}
        pool = ergon.ProcessPool(1)
        time.sleep(delay)
        for process in leaks.descendants(me):
            if process.pid not in known and process.parent == me:
                os.kill(process.pid, signal.SIGKILL)
        assert pool.pipe(short, 5) == 5
        pool.terminate()
        pool.join()


def test_stopped_zygote_does_not_stop_the_work(pool, zygote):
    pid = zygote(pool)
    os.kill(pid, signal.SIGSTOP)
    try:
        assert pool.map(short, range(100)) == list(range(100))
    finally:
        os.kill(pid, signal.SIGCONT)


def test_shutdown_with_a_stopped_zygote():
    pool = ergon.ProcessPool(2)
    pid = pool.pipe(os.getppid)
    worker = pool.pipe(os.getpid)
    os.kill(pid, signal.SIGSTOP)
    pool.terminate()
    ergon.shutdown()
    assert not leaks.wait_gone([pid, worker], patience=30)
