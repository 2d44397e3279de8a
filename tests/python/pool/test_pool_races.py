"""What several threads of the caller's, or code that pickling calls, may do to one another's futures and maps."""

import gc
import os
import signal
import threading
import time
import weakref

import ergon
import pytest
from ergon.errors import PoolClosed, TaskCancelled, WorkerLost


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def first_of(a, b):
    return a


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.005)


class Asks:
    """Takes a future's result while the call that depends on it is being written."""

    def __init__(self, future):
        self.future = future

    def __reduce__(self):
        return int, (self.future.result(60),)


def test_a_result_taken_while_its_dependent_is_written(parallel_pool):
    for i in range(20):
        future = parallel_pool.apipe(abs, -i)
        assert parallel_pool.apipe(first_of, future, Asks(future)).result(60) == i


def test_a_map_cancelled_while_a_thread_waits_for_it(parallel_pool, tmp_path):
    gate = tmp_path / "gate"
    try:
        for _ in range(5):
            seen = []
            future = parallel_pool.amap(wait_for, [str(gate)] * 8)

            def wait(future=future, seen=seen):
                try:
                    future.result(60)
                except BaseException as error:
                    seen.append(type(error))

            thread = threading.Thread(target=wait)
            thread.start()
            time.sleep(0.01)
            assert future.cancel()
            thread.join(60)
            assert seen == [TaskCancelled] and future.cancelled()
    finally:
        gate.touch()


def test_futures_with_callbacks_are_forgotten_when_done(parallel_pool):
    kept = []
    for i in range(200):
        future = parallel_pool.apipe(abs, i)
        future.add_done_callback(lambda f: None)
        assert future.result(60) == i
        kept.append(weakref.ref(future))
        del future
    until(lambda: gc.collect() >= 0 and not any(ref() for ref in kept))


def test_a_pool_whose_last_user_is_a_callback():
    done = threading.Event()
    pool = ergon.ProcessPool(1)
    pid = pool.pipe(os.getpid)
    pool.apipe(time.sleep, 0.1).add_done_callback(lambda f: done.set())
    del pool
    gc.collect()
    assert done.wait(60)
    until(lambda: gone(pid))


def slowly(n):
    for i in range(n):
        time.sleep(0.002)
        yield i


def test_joined_while_another_thread_iterates():
    pool = ergon.ProcessPool(2)
    seen, errors = [], []
    results = pool.imap(abs, slowly(300), chunksize=1)

    def consume():
        try:
            for value in results:
                seen.append(value)
                time.sleep(0.001)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=consume)
    thread.start()
    pool.close()
    pool.join()
    thread.join(60)
    assert not errors and seen == list(range(300))


def dies_at_seven(i):
    if i == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return i * 1000003


def test_traced_map_that_loses_a_worker():
    core = ergon._core
    core.trace_start()
    try:
        with ergon.ProcessPool(1) as pool:
            with pytest.raises(WorkerLost):
                pool.map(dies_at_seven, range(20), chunksize=20)
            assert any(event[-1] == "lost" for event in core.trace_events())
    finally:
        core.trace_stop()
        core.trace_clear()


class Pause:
    """The first who loads it goes on once another one loads it, who has to wait."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return pause, (self.folder,)


def pause(folder):
    try:
        os.mkdir(f"{folder}/first")
    except FileExistsError:
        os.makedirs(f"{folder}/second", exist_ok=True)
        time.sleep(0.3)
    else:
        until(lambda: os.path.exists(f"{folder}/second"))


class Check:
    """A callable that travels anew each time."""

    def __init__(self, folder, data):
        self.folder, self.data = folder, data

    def __reduce__(self):
        return load_check, (Pause(self.folder), self.folder, self.data)

    def __call__(self, item):
        whole = self.data == bytes(len(self.data))
        open(f"{self.folder}/{'whole' if whole else 'broken'}-{item}", "w").close()
        raise KeyError(item)


def load_check(_, folder, data):
    return Check(folder, data)


def test_a_map_that_was_given_up_keeps_its_function(tmp_path):
    with ergon.ProcessPool(2) as pool:
        with pytest.raises(KeyError):
            pool.map(Check(str(tmp_path), bytes(40000)), range(2), chunksize=1)
        others = [pool.apipe(Check(str(tmp_path), b"x" * 40000), "other") for _ in range(4)]
        until(lambda: len(list(tmp_path.glob("*-[01]"))) == 2, 10)
        assert not list(tmp_path.glob("broken-[01]"))
        for other in others:
            other.cancel()


def test_profiler_works_after_a_late_interruption():
    # A call that cannot be interrupted ends by itself; nothing may stay pending in the interpreter.
    program = """
    import cProfile, time, ergon

    def inner(i):
        return i * i

    def busy(n):
        return sum(inner(i) for i in range(n))

    with ergon.ThreadPool(1) as pool:
        future = pool.apipe(time.sleep, 0.3)
        time.sleep(0.1)
        future.cancel()
        future.wait()
        pool.pipe(abs, 1)
        meter = cProfile.Profile()
        meter.enable()
        print(busy(5))
        meter.disable()
    """
    import subprocess
    import sys
    import textwrap

    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "30\n", done.stderr


def test_a_map_that_is_just_being_made_is_not_drained(parallel_pool):
    """join() in another thread takes the items of maps that have begun: not before their iterators are there."""
    made, joining = threading.Event(), threading.Event()

    class Items:
        def __iter__(self):
            made.set()
            assert joining.wait(60)
            time.sleep(0.05)
            return iter([-1, -2, -3])

    def end():
        assert made.wait(60)
        parallel_pool.close()
        joining.set()
        parallel_pool.join()

    ender = threading.Thread(target=end)
    ender.start()
    try:
        assert list(parallel_pool.imap(abs, Items())) == [1, 2, 3]
    except PoolClosed:
        pass
    ender.join(60)
    assert not ender.is_alive()


def test_ends_and_beginnings_from_several_threads():
    """Whoever is faster, nobody is told that the state of the pool is wrong."""
    wrong = []

    def turn(pool, steps):
        for _ in range(30):
            try:
                for step in steps:
                    getattr(pool, step)()
            except Exception as error:  # noqa: BLE001
                wrong.append(error)

    for opened in (ergon.ThreadPool(2), ergon.ProcessPool(2)):
        threads = [
            threading.Thread(target=turn, args=(opened, steps))
            for steps in (("terminate", "restart"), ("restart",), ("terminate", "restart"))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert not any(thread.is_alive() for thread in threads) and not wrong
        opened.restart()
        assert opened.map(abs, [-1, -2]) == [1, 2]
        opened.terminate()
