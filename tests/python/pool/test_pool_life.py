"""The life of a pool: close, join, terminate, restart, clear; forgotten pools; the interpreter's end."""

import gc
import os
import time
import weakref

import ergon
import leaks
import pytest
from ergon.errors import PoolClosed


def hold(value, seconds=0.05):
    time.sleep(seconds)
    return value


CALLS = {
    "map": lambda p: p.map(abs, [-1]),
    "imap": lambda p: list(p.imap(abs, [-1])),
    "uimap": lambda p: list(p.uimap(abs, [-1])),
    "amap": lambda p: p.amap(abs, [-1]).result(60),
    "pipe": lambda p: p.pipe(abs, -1),
    "apipe": lambda p: p.apipe(abs, -1).result(60),
    "submit": lambda p: p.submit(abs, -1).result(60),
    "starmap": lambda p: p.starmap(pow, [(1, 1)]),
    "map_reduce": lambda p: p.map_reduce(abs, max, [-1]),
    "executor": lambda p: p.executor().submit(abs, -1).result(60),
}


CLOSED = (PoolClosed, RuntimeError)  # the latter from executors, as the standard library's


@pytest.mark.parametrize("name", CALLS)
def test_closed_pool_takes_no_calls(pool, name):
    pool.close()
    with pytest.raises(CLOSED):
        CALLS[name](pool)


def test_terminated_pool_takes_no_calls(pool):
    pool.terminate()
    for call in CALLS.values():
        with pytest.raises(CLOSED):
            call(pool)


def test_close_finishes_what_was_submitted(pool):
    futures = [pool.apipe(hold, i, 0.01) for i in range(20)]
    future = pool.amap(abs, range(100))
    pool.close()
    pool.join()
    assert [f.result(0) for f in futures] == list(range(20))
    assert future.result(0) == list(range(100))


def test_join_needs_close(pool):
    with pytest.raises((ValueError, ergon.errors.ErgonError)):
        pool.join()
    assert pool.pipe(abs, -1) == 1


def test_everything_twice(pool):
    pool.close()
    pool.close()
    pool.join()
    pool.join()
    pool.terminate()
    pool.terminate()
    pool.join()


def test_join_ends_the_workers(process_pool):
    pids = set(process_pool.map(lambda i: (time.sleep(0.01), os.getpid())[1], range(20), chunksize=1))
    process_pool.close()
    process_pool.join()
    assert not leaks.wait_gone(list(pids))


def endless():
    while True:
        time.sleep(0.01)


def test_terminate_does_not_wait(process_pool):
    futures = [process_pool.apipe(endless) for _ in range(10)]
    process_pool.terminate()
    process_pool.join()
    for future in futures:
        future.wait(60)
        assert future.done() and not future.successful()


def test_terminate_ends_workers_that_never_get_ready():
    p = ergon.ProcessPool(2, initializer=time.sleep, initargs=(3600,))
    deadline = time.monotonic() + 60
    pids = []
    while (len(pids) < 2 or not all(pids)) and time.monotonic() < deadline:
        pids = [worker["pid"] for worker in p.stats["workers"]]
        time.sleep(0.001)
    assert all(pids)
    p.terminate()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_terminate_ends_a_waiting_thread(process_pool):
    import threading

    caught = []

    def wait():
        try:
            process_pool.map(lambda _: endless(), range(4))
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.2)
    process_pool.terminate()
    thread.join(60)
    assert not thread.is_alive() and len(caught) == 1


def test_restart(pool):
    assert pool.pipe(abs, -1) == 1
    pool.close()
    pool.join()
    pool.restart()
    assert pool.map(abs, [-1, -2]) == [1, 2]
    pool.terminate()
    pool.join()
    pool.restart()
    assert pool.map(abs, [-1, -2]) == [1, 2]


def test_restart_many_times(process_pool):
    for i in range(10):
        process_pool.close()
        process_pool.join()
        process_pool.restart()
        assert process_pool.pipe(abs, -i) == i


def test_clear(pool):
    """What was submitted is finished; then the pool is as new."""
    pool.map(abs, [-1])
    pool.clear()
    assert pool.map(abs, [-1, -2]) == [1, 2]
    pool.close()
    pool.clear()
    assert pool.map(abs, [-1, -2]) == [1, 2]


def test_context_manager_closes():
    with ergon.ProcessPool(2) as pool:
        future = pool.apipe(hold, 5, 0.1)
        pid = pool.pipe(os.getpid)
    with pytest.raises(PoolClosed):
        pool.pipe(abs, -1)
    assert future.result(0) == 5, "leaving the with statement waits for what was submitted"
    assert not leaks.wait_gone([pid])


def test_context_manager_with_an_exception():
    """What runs is not waited for when the block failed."""
    with pytest.raises(KeyError):
        with ergon.ProcessPool(2) as pool:
            pool.apipe(endless)
            raise KeyError
    with pytest.raises(PoolClosed):
        pool.pipe(abs, -1)


def test_forgotten_pool_ends_its_workers():
    pool = ergon.ProcessPool(2)
    pid = pool.pipe(os.getpid)
    del pool
    gc.collect()
    assert not leaks.wait_gone([pid])


def test_forgotten_pool_in_a_cycle():
    pool = ergon.ProcessPool(1)
    pid = pool.pipe(os.getpid)
    ring = [pool]
    ring.append(ring)
    del pool, ring
    gc.collect()
    assert not leaks.wait_gone([pid])


def test_forgotten_pool_with_work_finishes_it_for_a_kept_future():
    future = ergon.ProcessPool(1).apipe(hold, 3, 0.2)
    gc.collect()
    assert future.result(60) == 3


def test_iterator_keeps_its_pool():
    assert list(ergon.ProcessPool(1).imap(abs, range(50))) == list(range(50))


def test_pools_can_be_referred_to_weakly(pool):
    assert weakref.ref(pool)() is pool


def test_threads_end_with_the_pool():
    import threading

    before = threading.active_count()
    with ergon.ThreadPool(4) as pool:
        pool.map(hold, range(8), [0.01] * 8)
    gc.collect()
    deadline = time.monotonic() + 30
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_open_and_close_often():
    for i in range(30):
        with ergon.ProcessPool(2) as pool:
            assert pool.pipe(abs, -i) == i


def test_open_and_forget_at_once():
    for _ in range(10):
        ergon.ProcessPool(2)
    gc.collect()


def test_close_while_workers_start():
    for _ in range(5):
        pool = ergon.ProcessPool(2)
        pool.close()
        pool.join()
        pool = ergon.ProcessPool(2)
        pool.terminate()
        pool.join()


def test_shutdown_ends_everything():
    pool = ergon.ProcessPool(2)
    pid = pool.pipe(os.getpid)
    ergon.shutdown()
    assert not leaks.wait_gone([pid])
    with pytest.raises(PoolClosed):
        pool.pipe(abs, -1)
    with ergon.ProcessPool(1) as again:
        assert again.pipe(abs, -1) == 1
    ergon.shutdown()
    ergon.shutdown()


# The interpreter's end. Each program must end by itself; the module's leak check sees to what it leaves.

ENDS = {
    "an open pool": "pool = ergon.ProcessPool(2); pool.map(abs, range(10))",
    "an open pool of threads": "pool = ergon.ThreadPool(2); pool.map(abs, range(10))",
    "an unused pool": "pool = ergon.ProcessPool(2)",
    "a running task": "pool = ergon.ProcessPool(2); f = pool.apipe(time.sleep, 600)",
    "a task that loops": "pool = ergon.ProcessPool(2)\ndef loop():\n    while True: pass\nf = pool.apipe(loop)",
    "a stubborn task": (
        "pool = ergon.ProcessPool(1)\ndef loop():\n    while True:\n        try: time.sleep(1)\n"
        "        except BaseException: pass\nf = pool.apipe(loop); time.sleep(0.2)"
    ),
    "many waiting tasks": "pool = ergon.ProcessPool(2); f = [pool.apipe(time.sleep, 600) for _ in range(1000)]",
    "an open iterator": "pool = ergon.ProcessPool(2); it = pool.imap(abs, iter(int, 1)); next(it)",
    "an iterator of a loop that was left": "for x in ergon.ProcessPool(2).imap(abs, iter(int, 1)): break",
    "sys.exit": "pool = ergon.ProcessPool(2); f = pool.apipe(time.sleep, 600); sys.exit(0)",
    "os._exit": "pool = ergon.ProcessPool(2); pool.map(abs, [1]); f = pool.apipe(time.sleep, 600); os._exit(0)",
    "a pool in a module global of another module": "import types; sys.modules['m'] = m = types.ModuleType('m'); m.pool = ergon.ProcessPool(2); m.pool.map(abs, [1])",
    "a pool in a cycle": "a = []; a.append(a); a.append(ergon.ProcessPool(1)); a[1].map(abs, [1])",
    "a daemon thread that waits": (
        "import threading\npool = ergon.ProcessPool(1)\n"
        "threading.Thread(target=lambda: pool.pipe(time.sleep, 600), daemon=True).start()\ntime.sleep(0.2)"
    ),
    "callbacks": "pool = ergon.ProcessPool(1); pool.apipe(time.sleep, 600).add_done_callback(print)",
    "a put handle": "pool = ergon.ProcessPool(1); h = pool.put(bytes(10**6)); pool.pipe(len, h)",
    "a result in shared memory": "pool = ergon.ProcessPool(1); r = pool.pipe(bytearray, 10**7)",
    "atexit": "import atexit; pool = ergon.ProcessPool(1); atexit.register(lambda: pool.map(abs, [1])); pool.map(abs, [1])",
}


@pytest.mark.parametrize("what", ENDS)
def test_interpreter_ends_with(script, what):
    done = script(f"import os, sys, time, ergon\n{ENDS[what]}\n", timeout=60)
    assert "Fatal" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
    if what not in ("atexit", "a daemon thread that waits"):
        assert done.stderr == "", done.stderr


def test_interpreter_ends_with_an_exception(script):
    done = script(
        "import ergon\npool = ergon.ProcessPool(2)\npool.apipe(__import__('time').sleep, 600)\n1 / 0\n", check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1 and "ZeroDivisionError" in done.stderr


def test_pool_created_at_exit(script):
    done = script("""
        import atexit, ergon
        def last():
            with ergon.ThreadPool(1) as pool:
                pass
        atexit.register(last)
    """)
    assert "Fatal" not in done.stderr


@pytest.mark.slow
def test_second_pool_is_quick():
    """The zygote is kept: a second pool costs less than the first of a program."""
    ergon.shutdown()

    def opened():
        start = time.perf_counter()
        with ergon.ProcessPool(2) as pool:
            pool.pipe(abs, -1)
            return time.perf_counter() - start

    first = opened()
    assert min(opened() for _ in range(5)) < first
