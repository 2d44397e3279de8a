"""os.fork in a program with an open pool: the child can neither hang nor damage the parent's pool."""

import os

import pytest

COMMON = """
import warnings
# CPython says from 3.12 on that a program with threads forks: so it does, and the pool's are among them.
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)

def in_child(work):
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            signal.alarm(30)
            code = work() or 0
        except BaseException as error:
            print(type(error).__name__, error, flush=True)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

pool = ergon.ProcessPool(2)
assert pool.map(abs, range(-10, 0)) == list(range(10, 0, -1))
"""

USES = {
    "pipe": "pool.pipe(abs, -1)",
    "map": "pool.map(abs, range(100))",
    "imap": "list(pool.imap(abs, range(100)))",
    "apipe": "pool.apipe(abs, -1).result(10)",
    "amap": "pool.amap(abs, [1]).result(10)",
    "submit": "pool.submit(abs, -1).result(10)",
    "put": "pool.put([1])",
    "restart": "pool.restart()",
}


@pytest.mark.parametrize("use", USES)
def test_child_that_uses_the_pool_gets_an_error(start, use):
    program = start(
        COMMON
        + f"""
def use():
    try:
        {USES[use]}
    except ergon.errors.ErgonError as error:
        assert "fork" in str(error), str(error)
        return 7
status = in_child(use)
assert status == 7, status
assert pool.map(abs, range(-10, 0)) == list(range(10, 0, -1))
print("well")
"""
    )
    status, out, err = program.end()
    assert (status, out, err) == (0, "well\n", "")


@pytest.mark.parametrize("ending", ["os._exit(0)", "sys.exit(0)", "pass", "os.kill(os.getpid(), 9)"])
def test_childs_end_leaves_the_parents_pool_alone(start, ending):
    program = start(
        COMMON
        + f"""
futures = [pool.apipe(time.sleep, 0.02) for _ in range(20)]
pid = os.fork()
if pid == 0:
    {ending}
else:
    os.waitpid(pid, 0)
    assert [f.result(60) for f in futures] == [None] * 20
    assert pool.map(abs, range(-10, 0)) == list(range(10, 0, -1))
    print("well")
"""
    )
    status, out, err = program.end()
    assert status == 0 and out == "well\n", (out, err)
    assert "Traceback" not in err


def test_child_that_closes_and_drops_the_pool(start):
    program = start(
        COMMON
        + """
def drop():
    global pool
    import gc
    for method in (pool.close, pool.terminate, pool.join):
        try:
            method()
        except ergon.errors.ErgonError:
            pass
    del pool
    gc.collect()
    return 5
assert in_child(drop) == 5
assert pool.map(abs, range(-10, 0)) == list(range(10, 0, -1))
print("well")
"""
    )
    status, out, err = program.end()
    assert (status, out, err) == (0, "well\n", "")


def test_child_opens_a_pool_of_its_own(start):
    program = start(
        COMMON
        + """
def own():
    with ergon.ProcessPool(2) as mine:
        assert mine.map(abs, range(-10, 0)) == list(range(10, 0, -1))
    with ergon.ThreadPool(2) as mine:
        assert mine.map(abs, [-1]) == [1]
    ergon.shutdown()
    return 5
assert in_child(own) == 5
assert in_child(own) == 5
assert pool.map(abs, range(-10, 0)) == list(range(10, 0, -1))
print("well")
"""
    )
    status, out, err = program.end()
    assert (status, out, err) == (0, "well\n", "")


def test_child_with_the_parents_futures(start):
    """A future inherited over fork says so, or gives a result that had arrived; it does not wait for ever."""
    program = start(
        COMMON
        + """
done = pool.apipe(abs, -5)
done.result(60)
waiting = pool.apipe(time.sleep, 1)
def look():
    assert done.result(5) == 5
    try:
        waiting.result(20)
    except (ergon.errors.ErgonError, TimeoutError):
        return 5
status = in_child(look)
assert status == 5, status
assert waiting.result(60) is None
print("well")
"""
    )
    status, out, err = program.end()
    assert (status, out, err) == (0, "well\n", "")


def test_forks_under_load(start):
    """Fork while other threads submit: no lock is inherited in a state that hangs the child."""
    program = start(
        COMMON
        + """
import threading
stop = False
def load():
    while not stop:
        assert pool.map(abs, range(50)) == list(range(50))
threads = [threading.Thread(target=load) for _ in range(3)]
[t.start() for t in threads]
def child():
    try:
        pool.pipe(abs, 1)
    except ergon.errors.ErgonError:
        return 6
statuses = [in_child(child) for _ in range(20)]
stop = True
[t.join() for t in threads]
assert statuses == [6] * 20, statuses
print("well")
"""
    )
    status, out, err = program.end()
    assert (status, out, err) == (0, "well\n", "")


def test_parent_ends_while_the_child_lives(start):
    """The pool ends with its owner although a forked child still has its descriptors."""
    import leaks

    program = start(
        COMMON
        + """
child = os.fork()
if child == 0:
    time.sleep(300)
    os._exit(0)
print(child)
sys.stdin.readline()
"""
    )
    child = int(program.line())
    family = [pid for pid in program.family() if pid != child]
    program.kill()
    program.process.wait(60)
    try:
        assert not leaks.wait_gone(family)
    finally:
        os.kill(child, 9)


def test_multiprocessing_with_an_open_pool(start):
    """The standard library's fork start method in the same program."""
    program = start(
        COMMON
        + """
import multiprocessing
with multiprocessing.get_context("fork").Pool(2) as other:
    assert other.map(abs, [-1, -2]) == [1, 2]
assert pool.map(abs, range(-10, 0)) == list(range(10, 0, -1))
print("well")
"""
    )
    status, out, err = program.end()
    assert status == 0 and out == "well\n", (out, err)
