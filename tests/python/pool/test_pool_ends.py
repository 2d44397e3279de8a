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


@pytest.mark.parametrize("what", ["terminate", "close", "open", "restart"])
def test_a_daemon_thread_ends_a_pool_while_the_program_ends(what):
    """Whatever the thread is just doing with the engine, the exit waits for it before it takes the engine apart."""
    program = """
        import sys, threading, time, ergon
        pool = ergon.ProcessPool(2)
        pool.map(abs, range(10))
        begun = threading.Event()
        def terminate():
            pool.terminate()
        def close():
            pool.close()
            pool.join()
        def open():
            while True:
                with ergon.ProcessPool(1) as other:
                    other.pipe(abs, 2)
        def restart():
            while True:
                pool.restart()
                pool.pipe(abs, 1)
                pool.terminate()
        def work():
            begun.set()
            globals()[sys.argv[1]]()
        threading.Thread(target=work, daemon=True).start()
        begun.wait()
        time.sleep(float(sys.argv[2]))
        print("end")
    """
    for delay in (0, 0.0001, 0.0005, 0.001, 0.003, 0.01):
        code, out, err = run(program, what, delay)
        assert (code, out) == (0, "end\n"), err


def test_shutdown_while_other_threads_open_and_end_pools():
    program = """
        import random, threading, time, ergon
        end = time.monotonic() + 3
        def use():
            while time.monotonic() < end:
                try:
                    pool = random.choice((ergon.ProcessPool, ergon.ThreadPool))(2)
                    pool.pipe(abs, -2)
                    way = random.randrange(4)
                    if way == 0:
                        pool.terminate()
                        pool.restart()
                        pool.map(abs, range(100))
                    elif way == 1:
                        pool.close()
                        pool.join()
                    elif way == 2:
                        list(pool.imap(abs, range(100)))
                except (ergon.errors.ErgonError, ValueError):
                    pass
        threads = [threading.Thread(target=use) for _ in range(4)]
        for t in threads:
            t.start()
        while time.monotonic() < end:
            time.sleep(random.random() * 0.02)
            ergon.shutdown()
        for t in threads:
            t.join()
        ergon.shutdown()
        print("end")
    """
    assert run(program) == (0, "end\n", "")
