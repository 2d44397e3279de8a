"""Ends nobody planned: threads that do not stop, daemon threads at the program's exit, pools dropped by their own workers."""

import subprocess
import sys
import textwrap
import threading
import time

import ergon
import pytest
from ergon.errors import WorkerLost


def run(program, *args, timeout=60):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_thread_that_does_not_stop_is_given_up():
    pool = ergon.ThreadPool(2)
    release, heard = threading.Lock(), []
    release.acquire()
    future = pool.apipe(release.acquire)
    watched = pool.apipe(release.acquire)
    watched.add_done_callback(heard.append)
    time.sleep(0.2)
    pool.terminate()
    with pytest.raises(WorkerLost, match="did not stop"):
        future.result(10)
    with pytest.raises(WorkerLost, match="did not stop"):
        watched.result(10)
    assert heard == [watched]
    for _ in range(2):
        release.release()
        time.sleep(0.05)
    pool.restart()
    assert pool.map(abs, [-1, -2]) == [1, 2]
    pool.close()
    pool.join()


def test_a_callers_wait_ends_with_the_thread_that_is_given_up():
    pool = ergon.ThreadPool(1)
    lock, ended = threading.Lock(), []
    lock.acquire()

    def call():
        with pytest.raises(WorkerLost, match="did not stop"):
            pool.pipe(lock.acquire)
        ended.append("pipe")

    caller = threading.Thread(target=call)
    caller.start()
    time.sleep(0.2)
    pool.terminate()
    caller.join(20)
    assert ended == ["pipe"]
    lock.release()


def test_daemon_threads_end_without_a_word_at_exit():
    program = """
        import sys, threading, time, ergon
        pool = ergon.ThreadPool(2) if sys.argv[1] == "threads" else ergon.ProcessPool(2)
        pool.pipe(abs, -1)
        def wait():
            pool.pipe(time.sleep, 0.7)
            while True:
                pool.map(abs, range(3))
        threads = [threading.Thread(target=wait, daemon=True) for _ in range(2)]
        threads.append(threading.Thread(target=lambda: pool.apipe(time.sleep, 60).result(), daemon=True))
        threads.append(threading.Thread(target=lambda: pool.map(time.sleep, [0.5, 60]), daemon=True))
        for t in threads:
            t.start()
        time.sleep(float(sys.argv[2]))
        print("end")
    """
    for kind in ("threads", "processes"):
        for when in (0.2, 1.0):
            code, out, err = run(program, kind, when)
            assert (code, out, err) == (0, "end\n", "")


def test_the_main_thread_still_hears_of_the_end():
    program = """
        import atexit, ergon
        pool = ergon.ThreadPool(1)
        def late():
            try:
                pool.pipe(abs, -1)
            except ergon.errors.PoolClosed:
                print("closed")
        pool.pipe(abs, -1)
        import atexit
        class Late:
            def __del__(self):
                late()
        import builtins
        builtins.keep = Late()
        ergon.shutdown()
        late()
        del builtins.keep
    """
    assert run(program) == (0, "closed\nclosed\n", "")


def test_a_pool_its_own_worker_let_go_ends():
    program = """
        import gc, threading, time, ergon
        go = threading.Event()
        def last(box):
            go.wait()
            box.clear()
        def start():
            pool = ergon.ThreadPool(1)
            box = [pool]
            pool.apipe(last, box)
        start()
        workers = [t for t in threading.enumerate() if t.name.startswith("ergon-")]
        assert workers
        go.set()
        end = time.time() + 20
        while any(t.is_alive() for t in workers) and time.time() < end:
            time.sleep(0.01)
        print(any(t.is_alive() for t in workers))
    """
    assert run(program) == (0, "False\n", "")
