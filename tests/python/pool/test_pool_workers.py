"""The state workers start with and keep."""

import os
import signal
import subprocess
import sys
import threading
import time

import ergon
import pytest
from ergon.errors import ErgonError


def hold(value, seconds=0.02):
    time.sleep(seconds)
    return value


def random_numbers(_):
    import random

    time.sleep(0.02)
    return os.getpid(), random.random()


def numpy_numbers(_):
    import numpy

    time.sleep(0.02)
    return os.getpid(), float(numpy.random.rand())


@pytest.mark.parametrize("draw", [random_numbers, numpy_numbers])
def test_random_generators_differ(process_pool, draw):
    drawn = process_pool.map(draw, range(20), chunksize=1)
    assert len({value for _, value in drawn}) == 20


def test_random_generators_differ_between_pools():
    values = []
    for _ in range(3):
        with ergon.ProcessPool(1) as pool:
            values.append(pool.pipe(random_numbers, 0)[1])
    assert len(set(values)) == 3


def test_seeded_parent_does_not_seed_workers(process_pool):
    import random

    random.seed(1)
    with ergon.ProcessPool(1) as one, ergon.ProcessPool(1) as two:
        assert one.pipe(random_numbers, 0)[1] != two.pipe(random_numbers, 0)[1]


def remember(value):
    import builtins

    kept = builtins.__dict__.setdefault("_remembered_by_test", set())
    kept.add(value)
    time.sleep(0.01)
    return os.getpid(), len(kept)


def test_workers_keep_their_state(process_pool):
    """Caches and imports of a worker live as long as it does."""
    seen = process_pool.map(remember, range(30), chunksize=1)
    assert max(n for _, n in seen) > 1
    assert len({pid for pid, _ in seen}) == 2


def setup(value, extra=0):
    import builtins

    builtins._set_up_by_test = value + extra


def read_setup(_=None):
    import builtins

    time.sleep(0.01)
    return builtins._set_up_by_test


def test_initializer():
    with ergon.ProcessPool(2, initializer=setup, initargs=(40, 2)) as pool:
        assert pool.map(read_setup, range(20), chunksize=1) == [42] * 20


GLOBALS = """
import functools, ergon
table = None
def start(value, *, more=0):
    global table, extra
    table, extra = value, more
    helper()
def helper():
    global deep
    deep = "deep"
def show(x):
    return table, extra, deep, shown(x)
def shown(x):
    return (table or 0) + x
class Thing:
    def show(self, x):
        return table, extra
with ergon.ProcessPool(1, initializer=functools.partial(start, more=2), initargs=(1,)) as pool:
    print(pool.map(show, [5]), pool.pipe(lambda: (table, extra)), pool.pipe(Thing().show, 1))
    table = 7  # in this process, not in the workers: each has what its initializer set
    other = 1
    print(pool.pipe(show, 5), pool.pipe(lambda: (table, other)))
print(table, "extra" in globals())
"""


def test_what_an_initializer_sets_is_there_for_tasks(tmp_path):
    (tmp_path / "program.py").write_text(GLOBALS)
    done = subprocess.run([sys.executable, tmp_path / "program.py"], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == [
        "[(1, 2, 'deep', 6)] (1, 2) (1, 2)",
        "(1, 2, 'deep', 6) (1, 1)",
        "7 False",
    ], done.stderr


def test_initializer_lambda_and_threads():
    ready = []
    with ergon.ThreadPool(2, initializer=lambda: ready.append(threading.get_ident())) as pool:
        pool.map(hold, range(20), chunksize=1)
    assert len(ready) == 2


def test_initializer_runs_again_in_a_replaced_worker():
    with ergon.ProcessPool(1, initializer=setup, initargs=(7,)) as pool:
        assert pool.pipe(read_setup) == 7
        with pytest.raises(ErgonError):
            pool.pipe(os._exit, 3)
        assert pool.pipe(read_setup) == 7


def bad_setup():
    raise ValueError("no licence found")


def test_initializer_that_fails():
    """Tasks end with an error that tells why; nothing hangs."""
    with ergon.ProcessPool(2, initializer=bad_setup) as pool:
        with pytest.raises((ErgonError, ValueError), match="no licence found"):
            pool.pipe(abs, -1)


def test_workers_do_not_hold_the_programs_descriptors(process_pool):
    """A file the program opens, before or after the pool, is not held open by workers."""
    reader, writer = os.pipe()
    try:
        with ergon.ProcessPool(1) as pool:
            pool.pipe(abs, -1)
            os.close(writer)
            writer = -1
            assert os.read(reader, 1) == b"", "a worker holds the other end"
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


def descriptors(_=None):
    return sorted(int(fd) for fd in os.listdir("/proc/self/fd"))


def test_workers_hold_few_descriptors(process_pool):
    assert len(process_pool.pipe(descriptors)) <= 16


def test_workers_are_not_in_the_programs_process_group(process_pool):
    """So that Ctrl-C reaches the program alone."""
    assert process_pool.pipe(os.getpgrp) != os.getpgrp()


def test_signal_dispositions_in_workers(process_pool):
    assert process_pool.pipe(lambda: signal.getsignal(signal.SIGTERM)) in (signal.SIG_DFL,)
    blocked = process_pool.pipe(lambda: signal.pthread_sigmask(signal.SIG_BLOCK, []))
    assert signal.SIGTERM not in blocked and signal.SIGINT not in blocked


def test_tasks_run_in_the_main_thread_of_a_worker(process_pool):
    """So that signal handlers, event loops and GUI toolkits work there."""
    assert process_pool.pipe(lambda: threading.current_thread() is threading.main_thread())


def test_task_may_set_signal_handlers(process_pool):
    def use():
        import signal

        seen = []
        old = signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.01)
        signal.signal(signal.SIGUSR1, old)
        return seen

    assert process_pool.pipe(use) == [1]


def test_task_may_use_asyncio(pool):
    def use():
        import asyncio

        async def main():
            await asyncio.sleep(0)
            return 5

        return asyncio.run(main())

    assert pool.map(lambda _: use(), range(4)) == [5] * 4


def test_task_may_start_threads(pool):
    def use():
        results = []
        thread = threading.Thread(target=lambda: results.append(1))
        thread.start()
        thread.join()
        return results

    assert pool.pipe(use) == [1]


def test_task_may_fork(process_pool):
    def use():
        pid = os.fork()
        if pid == 0:
            os._exit(7)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert [process_pool.pipe(use) for _ in range(3)] == [7] * 3
    assert process_pool.map(abs, range(-100, 0)) == list(range(100, 0, -1))


def test_task_may_run_programs(process_pool):
    def use():
        import subprocess

        return subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True).stdout

    assert process_pool.pipe(use) == "42\n"


def test_task_may_use_multiprocessing(process_pool):
    def use():
        import multiprocessing

        with multiprocessing.get_context("fork").Pool(2) as inner:
            return inner.map(abs, [-1, -2])

    assert process_pool.pipe(use) == [1, 2]


def test_pools_opened_in_a_thread():
    results = []

    def work():
        with ergon.ProcessPool(1) as pool:
            results.append(pool.map(abs, [-1, -2]))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert results == [[1, 2]] * 4


def test_workers_outlive_the_thread_that_opened_the_pool():
    box = []

    def work():
        box.append(ergon.ProcessPool(2))
        box.append(box[0].pipe(os.getpid))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    pool, pid = box
    time.sleep(0.2)
    assert pool.map(abs, range(-50, 0)) == list(range(50, 0, -1))
    assert os.path.exists(f"/proc/{pid}")
    pool.terminate()
    pool.join()


def test_several_pools_at_once():
    with ergon.ProcessPool(2) as a, ergon.ProcessPool(1) as b, ergon.ThreadPool(2) as c:
        futures = [p.apipe(pow, i, 2) for i in range(300) for p in (a, b, c)]
        assert [f.result(60) for f in futures] == [i * i for i in range(300) for _ in range(3)]


def test_a_pool_has_its_own_workers():
    with ergon.ProcessPool(1) as a, ergon.ProcessPool(1) as b:
        assert a.pipe(os.getpid) != b.pipe(os.getpid)


def test_max_recursion_and_switch_interval_are_default(process_pool):
    assert process_pool.pipe(sys.getrecursionlimit) == 1000


def test_main_module_name(process_pool):
    assert process_pool.pipe(lambda: __import__("__main__").__name__) == "__main__"


def test_setuptools_costs_workers_no_start_up():
    from ergon import _worker

    class Hack:
        __module__ = "_distutils_hack"

    class Other(Hack):
        __module__ = "elsewhere"

    before = sys.meta_path[:]
    try:
        sys.meta_path[:] = [f for f in before if isinstance(f, type)]
        assert "-S" in _worker.zygote_argv()
        sys.meta_path.insert(0, Hack())
        assert "-S" in _worker.zygote_argv()
        sys.meta_path.insert(0, Other())
        assert "-S" not in _worker.zygote_argv()
    finally:
        sys.meta_path[:] = before


def test_workers_find_distutils_as_their_owner_does(process_pool):
    pytest.importorskip("_distutils_hack")
    program = "import distutils; print(distutils.__file__)"
    here = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    there = process_pool.pipe(lambda: __import__("distutils").__file__) if here.returncode == 0 else None
    assert here.returncode != 0 or there == here.stdout.strip()


def leave_behind(folder):
    import atexit
    import ctypes

    text = sys.kept_text = open(os.path.join(folder, "text"), "w")  # noqa: SIM115
    text.write("text")
    binary = sys.kept_binary = open(os.path.join(folder, "binary"), "wb")  # noqa: SIM115
    binary.write(b"binary")
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    libc.fputs(b"C", ctypes.c_void_p(libc.fopen(os.fsencode(os.path.join(folder, "C")), b"w")))

    def write(name):
        time.sleep(0.1)
        with open(os.path.join(folder, name), "w") as file:
            file.write(name)

    atexit.register(write, "atexit")
    threading.Thread(target=write, args=("thread",)).start()


def test_what_a_worker_leaves_behind_is_written_out(tmp_path):
    pool = ergon.ProcessPool(1)
    pool.pipe(leave_behind, str(tmp_path))
    pool.close()
    pool.join()
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        name: name for name in ("text", "binary", "C", "atexit", "thread")
    }
