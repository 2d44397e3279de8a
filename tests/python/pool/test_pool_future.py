"""Futures: concurrent.futures' methods, multiprocessing's methods, await; executors."""

import asyncio
import concurrent.futures
import gc
import sys
import threading
import time
import weakref

import ergon
import pytest
from ergon.errors import TaskCancelled


def wait_for(event_path):
    """Runs until the file is there."""
    import os

    while not os.path.exists(event_path):
        time.sleep(0.005)
    return event_path


def test_type_in_annotations():
    assert str(ergon.Future[int]) == "ergon.Future[int]"


@pytest.fixture
def gate(tmp_path):
    """A file name tasks wait for; opened at the end in any case."""
    path = tmp_path / "gate"
    yield path
    path.touch()


def test_result_and_state(parallel_pool, gate):
    future = parallel_pool.apipe(wait_for, str(gate))
    assert not future.done() and not future.ready()
    with pytest.raises(TimeoutError):
        future.result(0.01)
    with pytest.raises(TimeoutError):
        future.exception(timeout=0)
    with pytest.raises(ValueError):
        future.successful()
    future.wait(0.01)
    gate.touch()
    assert future.result(60) == str(gate)
    assert future.done() and future.ready() and future.successful()
    assert future.exception() is None
    assert future.get() == future.get(0) == future.result(timeout=0) == str(gate)


def test_failed_future(pool):
    future = pool.apipe(int, "x")
    future.wait()
    assert future.done() and not future.successful()
    assert isinstance(future.exception(60), ValueError)
    for _ in range(3):
        with pytest.raises(ValueError):
            future.result()
    with pytest.raises(ValueError):
        future.get(60)


def test_timeout_is_both_kinds(parallel_pool, gate):
    future = parallel_pool.apipe(wait_for, str(gate))
    with pytest.raises(ergon.errors.TaskTimeout):
        future.result(0)
    gate.touch()
    assert future.result(60)


def test_a_task_that_raises_timeout_error(pool):
    def fail():
        raise TimeoutError("by the task")

    with pytest.raises(TimeoutError, match="by the task"):
        pool.apipe(fail).result(60)


def test_callbacks(pool):
    done = threading.Event()
    seen = []

    def note(future):
        seen.append(future)
        done.set()

    future = pool.apipe(abs, -3)
    future.add_done_callback(note)
    assert done.wait(60)
    assert seen == [future] and future.result() == 3
    future.add_done_callback(seen.append)  # done already: called now
    assert seen == [future, future]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_callbacks_in_order_and_errors_in_them(pool, capsys):
    order = []
    done = threading.Event()
    future = pool.apipe(time.sleep, 0.05)
    future.add_done_callback(lambda f: order.append(1))
    future.add_done_callback(lambda f: 1 / 0)
    future.add_done_callback(lambda f: order.append(2))
    future.add_done_callback(lambda f: done.set())
    assert done.wait(60)
    assert order == [1, 2]


def test_callback_may_use_the_pool(parallel_pool):
    answers = []
    done = threading.Event()

    def again(future):
        inner = parallel_pool.apipe(abs, -future.result())
        inner.add_done_callback(lambda f: (answers.append(f.result()), done.set()))

    parallel_pool.apipe(abs, -5).add_done_callback(again)
    assert done.wait(60) and answers == [5]


def test_many_callbacks(parallel_pool):
    left = 2000
    lock = threading.Lock()
    done = threading.Event()

    def count(_):
        nonlocal left
        with lock:
            left -= 1
            if not left:
                done.set()

    for i in range(2000):
        parallel_pool.apipe(abs, i).add_done_callback(count)
    assert done.wait(60), f"{left} callbacks were not called"


def test_cancel_before_it_begins(parallel_pool, gate):
    blockers = [parallel_pool.apipe(wait_for, str(gate)) for _ in range(parallel_pool.nodes)]
    future = parallel_pool.apipe(abs, -1)
    assert future.cancel()
    assert future.cancelled() and future.done()
    with pytest.raises((concurrent.futures.CancelledError, TaskCancelled)):
        future.result(60)
    gate.touch()
    assert all(b.result(60) for b in blockers)
    assert not blockers[0].cancel()
    assert parallel_pool.pipe(abs, -1) == 1


def spin():
    while True:
        pass


def test_cancel_a_running_task(process_pool, tmp_path):
    def run(path):
        open(path, "w").close()
        while True:
            time.sleep(0.01)

    started = tmp_path / "started"
    future = process_pool.apipe(run, str(started))
    wait_for(started)
    assert future.cancel()
    with pytest.raises((concurrent.futures.CancelledError, TaskCancelled)):
        future.result(60)
    assert process_pool.map(abs, [-1, -2, -3]) == [1, 2, 3]


def test_cancel_a_task_that_will_not_stop(process_pool, tmp_path):
    """It swallows the interruption: its worker is replaced."""

    def stubborn(path):
        open(path, "w").close()
        while True:
            try:
                while True:
                    time.sleep(0.01)
            except BaseException:
                pass

    started = tmp_path / "started"
    future = process_pool.apipe(stubborn, str(started))
    wait_for(started)
    assert future.cancel()
    with pytest.raises((concurrent.futures.CancelledError, TaskCancelled)):
        future.result(60)
    assert process_pool.map(abs, [-1, -2, -3]) == [1, 2, 3]


def test_cancel_a_running_thread_task(tmp_path):
    """Either it gets an exception, or cancel() says that it cannot."""

    def run(path):
        open(path, "w").close()
        for _ in range(2000):
            time.sleep(0.005)
        return "ended"

    with ergon.ThreadPool(1) as pool:
        started = tmp_path / "started"
        future = pool.apipe(run, str(started))
        wait_for(started)
        if future.cancel():
            with pytest.raises((concurrent.futures.CancelledError, TaskCancelled)):
                future.result(60)
        else:
            assert future.result(60) == "ended"
        assert pool.pipe(abs, -1) == 1


def test_cancel_a_map(parallel_pool, gate):
    future = parallel_pool.amap(wait_for, [str(gate)] * 50, chunksize=1)
    assert future.cancel() in (True, False)
    gate.touch()
    future.wait(60)
    assert future.done()
    assert parallel_pool.pipe(abs, -1) == 1


def test_cancel_what_is_done(pool):
    future = pool.apipe(abs, -1)
    future.result(60)
    assert not future.cancel() and not future.cancelled()
    assert future.result() == 1


def test_await(pool):
    async def main():
        return await pool.apipe(pow, 2, 5)

    assert asyncio.run(main()) == 32


def test_await_many(parallel_pool):
    async def one(i):
        return await parallel_pool.apipe(pow, i, 2)

    async def main():
        return await asyncio.gather(*(one(i) for i in range(300)))

    assert asyncio.run(main()) == [i * i for i in range(300)]


def test_await_an_error(pool):
    async def main():
        await pool.apipe(int, "x")

    with pytest.raises(ValueError):
        asyncio.run(main())


def test_await_leaves_the_loop_free(parallel_pool, gate):
    ticks = 0

    async def tick(future):
        nonlocal ticks
        while ticks < 5:
            ticks += 1
            await asyncio.sleep(0.005)
        gate.touch()

    async def main():
        future = parallel_pool.apipe(wait_for, str(gate))
        ticker = asyncio.create_task(tick(future))
        result = await future
        await ticker
        return result

    assert asyncio.run(main()) == str(gate)
    assert ticks == 5


def test_await_timeout(parallel_pool, gate):
    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.ensure_future(_await(parallel_pool.apipe(wait_for, str(gate)))), 0.05)

    asyncio.run(main())
    gate.touch()
    assert parallel_pool.pipe(abs, -1) == 1


async def _await(future):
    return await future


def test_executor(pool):
    with pool.executor() as executor:
        assert isinstance(executor, concurrent.futures.Executor)
        futures = [executor.submit(pow, i, 2) for i in range(100)]
        assert all(isinstance(f, concurrent.futures.Future) for f in futures)
        done, pending = concurrent.futures.wait(futures, timeout=60)
        assert not pending
        assert sorted(f.result() for f in done) == [i * i for i in range(100)]
        assert list(executor.map(pow, range(5), [2] * 5)) == [0, 1, 4, 9, 16]


def test_executor_as_completed(parallel_pool, gate):
    with parallel_pool.executor() as executor:
        slow = executor.submit(wait_for, str(gate))
        fast = [executor.submit(abs, -i) for i in range(20)] if parallel_pool.nodes > 1 else []
        order = []
        for future in concurrent.futures.as_completed([slow, *fast], timeout=60):
            order.append(future)
            if len(order) == len(fast):
                gate.touch()
        assert order[-1] is slow


def test_executor_keywords_and_errors(pool):
    with pool.executor() as executor:
        assert executor.submit(dict, timeout=1, after=2).result(60) == {"timeout": 1, "after": 2}
        with pytest.raises(ValueError):
            executor.submit(int, "x").result(60)


def test_executor_shutdown_leaves_the_pool(pool):
    executor = pool.executor()
    executor.shutdown(wait=True)
    with pytest.raises(RuntimeError):
        executor.submit(abs, -1)
    assert pool.pipe(abs, -1) == 1


def test_executor_in_asyncio(parallel_pool):
    async def main():
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(parallel_pool.executor(), pow, 2, 7)

    assert asyncio.run(main()) == 128


def test_wait_from_several_threads(parallel_pool, gate):
    future = parallel_pool.apipe(wait_for, str(gate))
    results = []
    threads = [threading.Thread(target=lambda: results.append(future.result(60))) for _ in range(8)]
    for thread in threads:
        thread.start()
    gate.touch()
    for thread in threads:
        thread.join(60)
    assert results == [str(gate)] * 8


def test_forgotten_futures(parallel_pool):
    """Nobody keeps the futures: the tasks run, and nothing piles up."""
    for _ in range(20):
        for i in range(500):
            parallel_pool.apipe(abs, i)
    assert parallel_pool.pipe(abs, -1) == 1


def test_futures_are_collected(pool):
    future = pool.apipe(abs, -1)
    future.result(60)
    ref = weakref.ref(future)
    del future
    gc.collect()
    assert ref() is None


def test_future_outlives_its_pool(pool):
    future = pool.apipe(pow, 2, 3)
    failed = pool.apipe(int, "x")
    future.wait(60)
    failed.wait(60)
    pool.close()
    pool.join()
    assert future.result() == 8
    with pytest.raises(ValueError):
        failed.result()


def test_repr(pool):
    future = pool.apipe(abs, -1)
    future.result(60)
    assert "Future" in repr(future)


def import_halves():
    import halves  # written by the test

    return halves.total


def test_cancelled_in_the_middle_of_an_import(tmp_path, gate):
    """What is half imported is known to sys.modules, and not to its package: no later task may meet that."""
    package = tmp_path / "halves"
    package.mkdir()
    (package / "__init__.py").write_text("from .left import *\nfrom .right import *\ntotal = left.n + right.n\n")
    (package / "left.py").write_text("n = 1\n__all__ = ['n']\n")
    (package / "right.py").write_text(
        f"import os, time\nopen({str(tmp_path / 'begun')!r}, 'w').close()\n"
        f"while not os.path.exists({str(gate)!r}):\n    time.sleep(0.005)\nn = 2\n__all__ = ['n']\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        with ergon.ProcessPool(1) as pool:
            first = pool.apipe(import_halves)
            while not (tmp_path / "begun").exists():
                time.sleep(0.01)
            assert first.cancel()
            with pytest.raises(TaskCancelled):
                first.result(60)
            gate.touch()
            assert [pool.pipe(import_halves) for _ in range(2)] == [3, 3]
            stats = pool.stats
            assert stats["tasks_lost"] == 0 and stats["workers_lost"] == 0
    finally:
        sys.path.remove(str(tmp_path))
