"""What tasks do with the standard library in a worker, as they would in a child of the program."""

import multiprocessing
import os
import tempfile
import time

import pytest
from ergon.errors import PicklingError

PICKLE = """
    import dataclasses
    import enum
    import multiprocessing
    import pickle
    import sys
    import tempfile
    from concurrent.futures import ProcessPoolExecutor

    import ergon

    @dataclasses.dataclass
    class Record:
        a: int

    class Outer:
        class Inner:
            value = 1

        def method(self):
            return 5

    class Color(enum.Enum):
        RED = 1

    def square(x):
        return x * x

    FORK = multiprocessing.get_context("fork")

    def in_executor(i):
        with ProcessPoolExecutor(1, mp_context=FORK) as executor:
            return list(executor.map(square, [i]))

    def in_pool(i):
        with FORK.Pool(1) as pool:
            return pool.map(square, [i])

    def write(path):
        with open(path, "wb") as file:
            pickle.dump([Record(3), square, Outer.Inner(), Outer, Color.RED, Outer().method], file)

    def read(path):
        with open(path, "rb") as file:
            record, function, inner, outer, color, method = pickle.load(file)
        return record == Record(3), function(4), inner.value, outer is Outer, color is Color.RED, method()

    def write_and_read(path):
        write(path)
        return read(path)

    def missing():
        main = sys.modules["__main__"]
        try:
            main.nothing
        except AttributeError as error:
            return str(error), hasattr(main, "gone")

    GOOD = True, 16, 1, True, True, 5
"""


def test_plain_pickle_in_a_task(script):
    script(
        PICKLE
        + """
    with ergon.ProcessPool(2) as pool, tempfile.TemporaryDirectory() as folder:
        assert pool.pipe(write_and_read, folder + "/file") == GOOD
        assert read(folder + "/file") == GOOD
        paths = [f"{folder}/{i}" for i in range(20)]
        assert pool.map(write_and_read, paths, chunksize=1) == [GOOD] * 20
        assert pool.map(read, paths, chunksize=1) == [GOOD] * 20
        # An inner class without its outer one, and what nobody has brought along.
        assert pool.pipe(lambda inner: pickle.loads(pickle.dumps(inner)).value, Outer.Inner()) == 1
        assert pool.pipe(missing) == ("module '__main__' has no attribute 'nothing'", False)
        # What comes back is the program's own.
        assert pool.pipe(lambda: (Record, square(1), Color.RED)) == (Record, 1, Color.RED)
    """
    )


def test_children_of_a_task_find_the_main_program(script):
    script(
        PICKLE
        + """
    with ergon.ProcessPool(1) as pool:
        assert pool.pipe(in_executor, 3) == [9]
        assert pool.pipe(in_pool, 4) == [16]
    """
    )


def test_a_function_that_is_sent_anew_is_pickled(script):
    script(
        PICKLE
        + """
    table = {}

    def entry(key):
        return table.get(key)

    def pickled(key):
        return pickle.loads(pickle.dumps(entry)) is entry

    with ergon.ProcessPool(1) as pool:
        for i in range(5):
            table[i] = i
            assert pool.pipe(pickled, i)
    """
    )


# --- what children of the program would inherit -------------------------------------------------------------------------

MEMORY = """
    import os
    import sys

    import ergon

    def shared_memory():
        from multiprocessing import shared_memory
        return shared_memory

    def fill(name, i):
        shared = shared_memory().SharedMemory(name=name)
        shared.buf[i] = i + 1
        shared.close()

    def make(_):
        made = shared_memory().SharedMemory(create=True, size=64)
        made.buf[0] = 7
        made.close()
        return made.name

    def check(pool):
        ours = shared_memory().SharedMemory(create=True, size=8)
        with pool:
            pool.map(fill, [ours.name] * 8, range(8), chunksize=1)
            names = pool.map(make, range(4), chunksize=1)
        pool.join()
        assert bytes(ours.buf[:8]) == bytes(range(1, 9))
        again = shared_memory().SharedMemory(name=ours.name)
        again.close()
        ours.close()
        ours.unlink()
        for name in names:  # what a worker has made is there when it has gone
            theirs = shared_memory().SharedMemory(name=name)
            assert theirs.buf[0] == 7
            theirs.close()
            theirs.unlink()
"""


@pytest.mark.parametrize("first", ["shared_memory()", "pass"])
def test_shared_memory_lasts_as_long_as_the_program_wants(script, first):
    done = script(MEMORY + f"\n    {first}\n    check(ergon.ProcessPool(2))\n")
    assert done.stderr == ""


def test_shared_memory_made_in_a_worker_goes_with_the_program(script):
    done = script(
        MEMORY
        + """
    shared_memory()
    with ergon.ProcessPool(1) as pool:
        print(pool.pipe(make, 0))
    """
    )
    name = done.stdout.strip()
    deadline = time.monotonic() + 30
    while os.path.exists(f"/dev/shm/{name}") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not os.path.exists(f"/dev/shm/{name}")


def test_proxies_of_managers_work_in_tasks(script):
    done = script(
        """
    import multiprocessing
    import ergon

    def enter(table, queue, lock, i):
        with lock:
            table[i] = i * i
        queue.put(i)

    if __name__ == "__main__":
        with multiprocessing.Manager() as manager, ergon.ProcessPool(2) as pool:
            table, queue, lock = manager.dict(), manager.Queue(), manager.Lock()
            pool.map(enter, [table] * 4, [queue] * 4, [lock] * 4, range(4), chunksize=1)
            assert dict(table) == {0: 0, 1: 1, 2: 4, 3: 9}
            assert sorted(queue.get() for _ in range(4)) == [0, 1, 2, 3]
            key = bytes(multiprocessing.current_process().authkey)
            told = pool.pipe(lambda: open("/proc/self/environ", "rb").read() + open("/proc/self/cmdline", "rb").read())
            assert key not in told
    """
    )
    assert done.stderr == ""


# --- what belongs to the program's own process ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["w+", "r+", "w+b", "r+b", "x+"])
def test_files_a_task_would_write_to_in_vain_are_refused(process_pool, tmp_path, mode):
    place = tmp_path / "file"
    if "x" not in mode:
        place.write_text("text")
    with open(place, mode) as file:
        with pytest.raises(PicklingError, match="reading and writing"):
            process_pool.pipe(lambda: file.write("more"))
        with pytest.raises(PicklingError, match="reading and writing"):
            process_pool.pipe(len, [file])


def test_temporary_files_are_refused_in_tasks(process_pool):
    for make in tempfile.NamedTemporaryFile, tempfile.TemporaryFile:
        with make() as file, pytest.raises(PicklingError, match="reading and writing"):
            process_pool.pipe(len, [file])


def test_files_to_append_to_are_opened_again(process_pool, tmp_path):
    place = tmp_path / "file"
    with open(place, "a+") as file:
        assert process_pool.pipe(lambda: file.write("more")) == 4
        assert process_pool.pipe(lambda: file.write("!")) == 1
    process_pool.map(abs, range(4))
    deadline = time.monotonic() + 30
    while place.read_text() != "more!" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert place.read_text() == "more!"


def test_connections_are_refused(process_pool):
    one, other = multiprocessing.Pipe()
    with one, other, pytest.raises(PicklingError, match=r"args\[0\].*a connection is a descriptor"):
        process_pool.pipe(lambda end: end.send(5), one)


# --- signals -------------------------------------------------------------------------------------------------------------


def test_a_map_that_a_handler_leaves_stops_its_calls(script):
    script(
        """
    import signal
    import time

    import ergon

    class Alarm(Exception):
        pass

    def ring(*_):
        raise Alarm

    pool = ergon.ProcessPool(2)
    pool.map(abs, range(4))
    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        pool.map(time.sleep, [600, 600])
    except Alarm:
        pass
    else:
        raise SystemExit("nothing was raised")
    assert pool.map(abs, [-1, 2]) == [1, 2]
    pool.close()
    pool.join()
    """
    )


def test_decorated_functions_are_pickled_by_name(script):
    script(
        """
    import multiprocessing
    import os
    import pickle
    import sys

    import ergon
    import ergon.aliases

    sys.path.insert(0, os.path.dirname(ergon.aliases.__file__))
    import dill

    @ergon.functional
    def double(x):
        return x * 2

    @ergon.schedule
    def doubles(n):
        return [double(i) for i in range(n)]

    class Twice:
        @ergon.schedule
        def method(self, n):
            return [double(i) for i in range(n)]

    for one in double, doubles, Twice.method:
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            assert pickle.loads(pickle.dumps(one, protocol)) is one
    assert pickle.loads(pickle.dumps(Twice().method))(2) == [0, 2]
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert (pool.map(doubles, [3]), pool.map(double, [4])) == ([[0, 2, 4]], [8])
    # With their code, where they go to others.
    assert len(ergon.dumps(double)) > 100 < len(dill.dumps(double))
    with ergon.ProcessPool(1) as pool:
        assert (pool.map(doubles, [3]), pool.map(double, [4])) == ([[0, 2, 4]], [8])
    """
    )
