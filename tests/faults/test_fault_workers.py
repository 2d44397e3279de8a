"""Workers are killed and stopped: idle, busy, starting, at random moments under load."""

import os
import random
import signal
import threading
import time

import ergon
import leaks
import pytest
from ergon.errors import WorkerLost


def short(i):
    time.sleep(0.001)
    return i


def hold(path):
    open(path, "w").write(str(os.getpid()))
    while True:
        time.sleep(0.01)


def test_idle_worker_is_replaced(pool, workers):
    for _ in range(4):
        victim = workers(pool)[0]
        os.kill(victim, signal.SIGKILL)
        assert pool.map(short, range(50), chunksize=1) == list(range(50))
        assert victim not in workers(pool)


def test_all_idle_workers_at_once(pool, workers):
    for pid in workers(pool):
        os.kill(pid, signal.SIGKILL)
    assert pool.map(short, range(50)) == list(range(50))
    assert len(workers(pool)) == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_busy_worker(pool, tmp_path, until, number):
    path = tmp_path / "pid"
    future = pool.apipe(hold, str(path))
    until(lambda: path.exists() and path.read_text())
    os.kill(int(path.read_text()), number)
    with pytest.raises(WorkerLost, match=signal.Signals(number).name):
        future.result(60)
    assert pool.map(short, range(20)) == list(range(20))


def test_names_the_worker(pool, tmp_path, until):
    path = tmp_path / "pid"
    future = pool.apipe(hold, str(path))
    until(lambda: path.exists() and path.read_text())
    os.kill(int(path.read_text()), signal.SIGKILL)
    with pytest.raises(WorkerLost, match=path.read_text()):
        future.result(60)


@pytest.mark.slow
def test_worker_killed_while_it_starts():
    """Children are killed as soon as they appear, some before they are up."""
    me = os.getpid()
    for _ in range(5):
        pool = ergon.ProcessPool(2)
        deadline = time.monotonic() + 0.03
        while time.monotonic() < deadline:
            for process in leaks.descendants(me):
                grandparent = leaks.read_process(process.parent)
                if grandparent and grandparent.parent == me:  # a worker, not the zygote
                    os.kill(process.pid, signal.SIGKILL)
                    deadline = 0
            time.sleep(0.001)
        assert pool.map(short, range(20)) == list(range(20))
        pool.terminate()
        pool.join()


class Killer(threading.Thread):
    """Kills one of the pool's workers now and then."""

    def __init__(self, seed, interval):
        super().__init__(daemon=True)
        self.random = random.Random(seed)
        self.interval = interval
        self.kills = 0
        self.done = threading.Event()
        self.start()

    def run(self):
        me = os.getpid()
        while not self.done.wait(self.random.uniform(0, self.interval)):
            processes = leaks.all_processes()
            children = {p.pid for p in processes.values() if p.parent == me}
            victims = [p.pid for p in processes.values() if p.parent in children and p.state not in "ZX"]
            if victims:
                try:
                    os.kill(self.random.choice(victims), signal.SIGKILL)
                    self.kills += 1
                except ProcessLookupError:
                    pass

    def rounds(self, least, kills):
        """Numbers of rounds, at least so many, and until so many kills have fallen into them (for a generous time)."""
        deadline = time.monotonic() + 60
        number = 0
        while number < least or (self.kills < kills and time.monotonic() < deadline):
            yield number
            number += 1

    def stop(self):
        self.done.set()
        self.join()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_kills_under_load_with_retries(pool, seed):
    """With retries every result comes, right and in order."""
    killer = Killer(seed, 0.4)
    try:
        for round in range(4):
            expected = list(range(round, round + 400))
            assert pool.map(short, expected, retries=50, chunksize=1 + seed * 3) == expected
    finally:
        killer.stop()
    assert killer.kills > 0, "nobody was killed: the test shows nothing"
    assert pool.map(short, range(50)) == list(range(50))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_kills_under_load_without_retries(pool, seed):
    """Each task ends with its own result or with WorkerLost; no result is lost or doubled."""
    killer = Killer(seed + 10, 0.3)
    try:
        lost = 0
        for round in range(4):
            futures = [pool.apipe(short, i) for i in range(300)]
            for i, future in enumerate(futures):
                try:
                    assert future.result(120) == i
                except WorkerLost:
                    lost += 1
    finally:
        killer.stop()
    assert killer.kills > 0
    assert lost <= 3 * killer.kills, f"{lost} tasks lost by {killer.kills} kills"
    assert pool.map(short, range(50)) == list(range(50))


def add(*values):
    return sum(values)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_kills_in_a_graph(pool, seed):
    killer = Killer(seed + 20, 0.4)
    try:
        for _ in killer.rounds(3, kills=3):
            row = [pool.submit(add, 1, retries=50) for _ in range(8)]
            for _ in range(60):
                row = [pool.submit(add, row[i], row[(i + 1) % 8], retries=50) for i in range(8)]
            assert [f.result(120) for f in row] == [2**60] * 8
    finally:
        killer.stop()
    assert killer.kills > 0, "nobody was killed: the test shows nothing"


def length(block):
    return len(block)


@pytest.mark.slow
def test_kills_with_large_data(pool):
    """Blocks in shared memory are neither lost nor mixed up."""
    killer = Killer(30, 0.4)
    try:
        for number in killer.rounds(30, kills=3):
            n = 400_000 + number
            results = pool.map(bytes, [n] * 6, retries=50, chunksize=1)
            assert [length(r) for r in results] == [n] * 6
            assert pool.map(length, results, retries=50, chunksize=1) == [n] * 6
    finally:
        killer.stop()
    assert killer.kills > 0, "nobody was killed: the test shows nothing"


def test_short_stop_is_no_loss(pool, workers):
    """A worker stopped for a moment, as by a debugger, goes on with its task."""
    victim = workers(pool)[0]
    futures = [pool.apipe(short, i) for i in range(200)]
    os.kill(victim, signal.SIGSTOP)
    time.sleep(0.3)
    os.kill(victim, signal.SIGCONT)
    assert [f.result(60) for f in futures] == list(range(200))
    assert victim in workers(pool)


@pytest.mark.slow
def test_others_go_on_while_one_is_stopped(pool, workers):
    victim = workers(pool)[0]
    os.kill(victim, signal.SIGSTOP)
    try:
        futures = [pool.apipe(short, i) for i in range(100)]
        done = 0
        deadline = time.monotonic() + 60
        while done < 98 and time.monotonic() < deadline:
            done = sum(f.done() for f in futures)
            time.sleep(0.01)
        assert done >= 98
    finally:
        os.kill(victim, signal.SIGCONT)
    assert [f.result(60) for f in futures] == list(range(100))


@pytest.mark.slow
def test_long_stop_counts_as_lost(tmp_path, until):
    path = tmp_path / "pid"
    with ergon.ProcessPool(1, stop_limit=2) as pool:
        future = pool.apipe(hold, str(path))
        until(lambda: path.exists() and path.read_text())
        os.kill(int(path.read_text()), signal.SIGSTOP)
        with pytest.raises(WorkerLost, match="stop"):
            future.result(60)
        assert pool.map(short, range(20)) == list(range(20))


def test_terminate_with_a_stopped_worker(workers):
    pool = ergon.ProcessPool(2)
    victims = workers(pool)
    for pid in victims:
        os.kill(pid, signal.SIGSTOP)
    pool.terminate()
    pool.join()
    assert not leaks.wait_gone(victims)


@pytest.mark.slow
def test_crash_loop_ends_with_a_reason():
    """Workers that die as soon as they start: the pool says so rather than trying for ever."""
    with ergon.ProcessPool(2, initializer=os._exit, initargs=(9,)) as pool:
        with pytest.raises(ergon.errors.ErgonError) as caught:
            pool.pipe(short, 1)
        assert "9" in str(caught.value)


def test_poison_task_does_not_take_the_pool_along(pool):
    """One task kills each worker it meets, among many good ones, with retries."""
    futures = [pool.submit(short, i) for i in range(100)]
    poison = pool.submit(os._exit, 1, retries=5)
    futures += [pool.submit(short, i) for i in range(100)]
    with pytest.raises(WorkerLost):
        poison.result(60)
    assert [f.result(60) for f in futures] == list(range(100)) * 2
