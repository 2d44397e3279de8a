"""Tasks that take their worker along: exactly they fail, the pool goes on."""

import ctypes
import os
import signal
import sys
import time

import ergon
import pytest
from ergon.errors import WorkerLost


def segfault(*_):
    import faulthandler

    faulthandler.disable()
    ctypes.string_at(0)


def kill_self(number=signal.SIGKILL):
    os.kill(os.getpid(), number)
    time.sleep(60)


def abort(*_):
    os.abort()


DEATHS = {
    "segmentation fault": (segfault, (), "SIGSEGV|11|egmentation"),
    "kill -9": (kill_self, (), "SIGKILL|9"),
    "SIGTERM": (kill_self, (signal.SIGTERM,), "SIGTERM|15"),
    "abort": (abort, (), "SIGABRT|6"),
    "os._exit": (os._exit, (3,), "3"),
    "os._exit(0)": (os._exit, (0,), "0|exit"),
}


@pytest.mark.parametrize("death", DEATHS)
def test_death_is_named(process_pool, death):
    task, args, words = DEATHS[death]
    with pytest.raises(WorkerLost, match=words):
        process_pool.pipe(task, *args)
    assert process_pool.map(abs, range(-20, 0)) == list(range(20, 0, -1))


def test_nobody_blames_the_kernel_without_a_reason(process_pool):
    said = []
    for _ in range(3):  # the machine may run out of memory this very moment, but hardly each time
        with pytest.raises(WorkerLost) as caught:
            process_pool.pipe(kill_self)
        said.append("memory" in str(caught.value))
    assert not all(said)
    with ergon.ProcessPool(1) as pool:
        with pytest.raises(WorkerLost) as caught:
            pool.pipe(kill_self)
        assert "memory" not in str(caught.value)


@pytest.mark.parametrize("method", ["map", "imap", "uimap", "amap", "apipe", "submit"])
def test_every_method_ends(process_pool, method):
    calls = {
        "map": lambda: process_pool.map(segfault, range(3)),
        "imap": lambda: list(process_pool.imap(segfault, range(3))),
        "uimap": lambda: list(process_pool.uimap(segfault, range(3))),
        "amap": lambda: process_pool.amap(segfault, range(3)).result(60),
        "apipe": lambda: process_pool.apipe(segfault).result(60),
        "submit": lambda: process_pool.submit(segfault).result(60),
    }
    with pytest.raises(WorkerLost):
        calls[method]()
    assert process_pool.pipe(abs, -1) == 1


@pytest.mark.parametrize("code", [None, 0, 5, "a message"])
def test_sys_exit(process_pool, code):
    """It may come back as itself or as a lost worker; it neither hangs nor ends the program."""
    error = process_pool.apipe(sys.exit, code).exception(60)
    assert isinstance(error, (SystemExit, WorkerLost))
    assert process_pool.map(abs, [-1, -2]) == [1, 2]


def die_if(number, fatal):
    if number == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.002)
    return number


@pytest.mark.parametrize("chunksize", [1, 8])
def test_exactly_the_task_concerned_fails(process_pool, chunksize):
    results = process_pool.imap(die_if, range(60), [17] * 60, chunksize=chunksize)
    got = []
    while True:
        try:
            got.append(next(results))
        except StopIteration:
            break
        except WorkerLost:
            got.append("lost")
    assert got == ["lost" if i == 17 else i for i in range(60)]


def test_other_calls_are_unharmed(process_pool):
    others = [process_pool.apipe(die_if, i, -1) for i in range(200)]
    doomed = process_pool.apipe(kill_self)
    others += [process_pool.apipe(die_if, i, -1) for i in range(200)]
    with pytest.raises(WorkerLost):
        doomed.result(60)
    assert [f.result(60) for f in others] == list(range(200)) * 2


def test_death_after_death(process_pool):
    for _ in range(12):
        with pytest.raises(WorkerLost):
            process_pool.pipe(kill_self)
    assert process_pool.map(abs, [-1]) == [1]


def test_successors_of_a_lost_task(process_pool):
    lost = process_pool.submit(kill_self)
    after = process_pool.submit(abs, lost)
    assert after.exception(60) is not None
    assert process_pool.pipe(abs, -1) == 1


def test_mixed_pool_survives():
    """In threads the death would be the program's: only the process part is asked."""
    with ergon.Pool("local:2") as pool, ergon.ThreadPool(1) as threads:
        with pytest.raises(WorkerLost):
            pool.pipe(kill_self)
        assert threads.pipe(abs, -1) == pool.pipe(abs, -1) == 1


def test_death_in_a_nested_pool(process_pool):
    def inside():
        with ergon.ProcessPool(1) as inner:
            try:
                inner.pipe(kill_self)
            except WorkerLost:
                return inner.pipe(abs, -1)

    assert process_pool.pipe(inside) == 1


def large_then_die(n):
    block = bytearray(n)
    os.kill(os.getpid(), signal.SIGKILL)
    return block


def test_memory_of_lost_tasks_is_given_back(process_pool):
    for _ in range(10):
        with pytest.raises(WorkerLost):
            process_pool.pipe(large_then_die, 50_000_000)
    block = bytes(20_000_000)
    for _ in range(10):
        with pytest.raises(WorkerLost):
            process_pool.submit(lambda b: os._exit(1), block).result(60)
    assert process_pool.pipe(len, block) == 20_000_000


def exit_in_thread():
    import threading

    thread = threading.Thread(target=os._exit, args=(4,))
    thread.start()
    thread.join()


def test_death_by_a_thread_of_the_task(process_pool):
    with pytest.raises(WorkerLost):
        process_pool.pipe(exit_in_thread)
    assert process_pool.pipe(abs, -1) == 1


def test_worker_that_closes_its_descriptors(process_pool):
    """A task that closes everything it finds must not hang the pool."""

    def close_all():
        os.closerange(3, 256)
        return 1

    error = process_pool.apipe(close_all).exception(60)
    assert error is None or isinstance(error, (WorkerLost, ergon.errors.ErgonError, OSError))
    assert process_pool.map(abs, [-1, -2]) == [1, 2]


def test_put_objects_of_dead_workers_are_given_back(process_pool):
    """A worker that dies never says that it has let go of what was put."""

    def die_with_it():
        assert process_pool.pipe(abs, -1) == 1  # deaths with nothing between them make a pool wait
        handle = process_pool.put(bytes(2_000_000))
        with pytest.raises(WorkerLost):
            process_pool.pipe(lambda block: os._exit(1), handle)  # a new worker need not import this module

    for _ in range(5):
        die_with_it()
    before = process_pool.stats["memory_bytes"]
    for _ in range(30):
        die_with_it()
    assert process_pool.stats["memory_bytes"] - before < 20_000_000


def enters_and_dies(pool, data):
    kept = (
        [pool.submit(len, data) for _ in range(4)],
        pool.amap(len, [data] * 8),
        pool.amap(len, [data] * 8, chunksize=4),
    )
    time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
    return kept


def test_what_a_dead_worker_had_entered_leaves_no_memory_behind():
    """Arguments of its own calls: 2 MB and more each time, mostly in blocks of their own."""
    with ergon.ProcessPool(2) as pool:

        def die(times):
            for _ in range(times):
                with pytest.raises(WorkerLost):
                    pool.submit(enters_and_dies, pool, bytes(300_000)).result(60)
            pool.map(abs, range(100))
            return pool.stats["memory_bytes"]

        before = die(5)
        assert die(20) < before + 20 * 1_000_000
        assert pool.map(abs, [-1, -2]) == [1, 2]
