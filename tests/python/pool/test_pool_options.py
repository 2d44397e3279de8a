"""Options: time limits, retries, progress, resources, views of a pool."""

import asyncio
import os
import resource
import threading
import time

import ergon
import pytest
from ergon.errors import TaskTimeout, WorkerLost


def sleepy(seconds):
    time.sleep(seconds)
    return seconds


def count_and_die(path, times):
    """Dies by SIGKILL the first `times` times."""
    with open(path, "a") as file:
        file.write("x")
    if os.path.getsize(path) <= times:
        os.kill(os.getpid(), 9)
    return os.path.getsize(path)


def count_and_raise(path, times):
    with open(path, "a") as file:
        file.write("x")
    if os.path.getsize(path) <= times:
        raise ValueError(os.path.getsize(path))
    return os.path.getsize(path)


def endless(_=None):
    while True:
        time.sleep(0.01)


def busy(_=None):
    while True:
        pass


@pytest.mark.parametrize("task", [endless, busy])
def test_timeout_of_a_task(process_pool, task):
    with pytest.raises(TaskTimeout):
        process_pool.submit(task, timeout=0.1).result(60)
    assert process_pool.map(abs, [-1, -2]) == [1, 2]


def test_timeout_is_a_timeout_error(process_pool):
    with pytest.raises(TimeoutError):
        process_pool.submit(endless, timeout=0.1).result(60)


def test_timeout_of_a_map_is_per_task(process_pool):
    assert process_pool.map(sleepy, [0.05] * 20, timeout=10) == [0.05] * 20
    with pytest.raises(TaskTimeout):
        process_pool.map(sleepy, [0, 0, 600], timeout=0.3, chunksize=1)
    assert process_pool.map(abs, [-1]) == [1]


def test_timeout_of_chunked_items(process_pool):
    """Many short items in one chunk may take longer together than the limit for each."""
    process_pool.map(sleepy, [0] * 20, chunksize=1)  # workers have imported what they need
    assert process_pool.map(sleepy, [0.05] * 60, timeout=2, chunksize=60) == [0.05] * 60


def test_timeout_harms_no_other(process_pool):
    process_pool.map(sleepy, [0] * 20, chunksize=1)  # workers have imported what they need
    results = process_pool.options(timeout=1.5).imap(sleepy, [0, 600, 0, 0], chunksize=1)
    got = []
    while True:
        try:
            got.append(next(results))
        except StopIteration:
            break
        except TaskTimeout:
            got.append("timeout")
    assert got == [0, "timeout", 0, 0]


@pytest.fixture
def blocked():
    """A call in C that no exception reaches: os.read of a pipe nobody writes to. (descriptor, what lets one call go on)"""
    out, into = os.pipe()
    yield out, lambda: os.write(into, b"x")
    os.close(out)
    os.close(into)


THREADS = {"threads": lambda: ergon.ThreadPool(1), "mixed": lambda: ergon.Pool("local:1", "threads:1")}
ENDLESS = {
    "pipe": lambda p, fd: p.pipe(os.read, fd, 1),
    "submit": lambda p, fd: p.submit(os.read, fd, 1, timeout=0.1).result(60),
    "apipe": lambda p, fd: p.apipe(os.read, fd, 1).result(60),
    "map": lambda p, fd: p.map(os.read, [fd], [1]),
    "starmap": lambda p, fd: p.starmap(os.read, [(fd, 1)], chunksize=10),
    "amap": lambda p, fd: p.amap(os.read, [fd], [1]).result(60),
    "imap": lambda p, fd: list(p.imap(os.read, [fd], [1])),
    "uimap": lambda p, fd: list(p.uimap(os.read, [fd], [1])),
    "executor": lambda p, fd: p.executor().submit(os.read, fd, 1).result(60),
    "asyncio": lambda p, fd: asyncio.run(awaited(p, fd)),
}


async def awaited(p, fd):
    return await p.apipe(os.read, fd, 1)


@pytest.mark.parametrize("kind", THREADS)
@pytest.mark.parametrize("method", ENDLESS)
def test_a_thread_in_a_call_of_c_is_not_waited_for(kind, method, blocked):
    descriptor, let_go = blocked
    with THREADS[kind]() as pool:
        view = pool.options(timeout=0.1, resources={"kind": "thread"})
        with pytest.raises(TaskTimeout, match="busy until that returns"):
            ENDLESS[method](view, descriptor)
        later = pool.submit(abs, -1, resources={"kind": "thread"})
        assert [worker["state"] for worker in pool.stats["workers"] if worker["kind"] == "thread"] == ["busy"]
        assert not later.done()
        let_go()
        assert later.result(60) == 1


def test_what_comes_after_an_overdue_call(blocked):
    descriptor, let_go = blocked
    for kind in THREADS.values():
        with kind() as pool:
            first = pool.submit(os.read, descriptor, 1, timeout=0.1, resources={"kind": "thread"})
            after = pool.submit(bytes, first)
            called = threading.Event()
            first.add_done_callback(lambda future, called=called: called.set())
            assert called.wait(60) and isinstance(first.exception(), TaskTimeout)
            assert first.done() and not first.running() and not first.cancel()
            results = pool.options(timeout=0.1, resources={"kind": "thread"}).imap(sleepy, [0, 0])
            let_go()  # the late result is nobody's
            with pytest.raises(TaskTimeout):
                after.result(60)
            assert list(results) == [0, 0]
            with pytest.raises(TaskTimeout):
                first.result(60)


def test_a_pool_with_an_overdue_call_can_be_terminated(blocked):
    descriptor, let_go = blocked
    for kind in THREADS.values():
        pool = kind()
        with pytest.raises(TaskTimeout):
            pool.options(timeout=0.1, resources={"kind": "thread"}).pipe(os.read, descriptor, 1)
        let_go()
        pool.terminate()
        pool.restart()
        assert pool.map(abs, [-1, -2]) == [1, 2]
        pool.terminate()


def test_timeout_does_not_count_waiting(process_pool):
    futures = [process_pool.submit(sleepy, 0.1, timeout=2) for _ in range(60)]
    assert [f.result(60) for f in futures] == [0.1] * 60


def test_bad_timeouts(pool):
    for wrong in ("soon", object()):
        with pytest.raises(TypeError):
            pool.submit(abs, -1, timeout=wrong)


def test_retries_after_a_lost_worker(process_pool, tmp_path):
    path = str(tmp_path / "count")
    assert process_pool.submit(count_and_die, path, 2, retries=2).result(60) == 3


def test_without_retries_a_lost_worker_is_an_error(process_pool, tmp_path):
    path = str(tmp_path / "count")
    with pytest.raises(WorkerLost):
        process_pool.submit(count_and_die, path, 1).result(60)
    assert os.path.getsize(path) == 1, "the task was run again although nobody asked for it"


def test_too_few_retries(process_pool, tmp_path):
    path = str(tmp_path / "count")
    with pytest.raises(WorkerLost):
        process_pool.submit(count_and_die, path, 10, retries=2).result(60)
    assert os.path.getsize(path) == 3


def test_retries_of_a_map(process_pool, tmp_path):
    paths = [str(tmp_path / str(i)) for i in range(10)]
    assert process_pool.map(count_and_die, paths, [i % 2 for i in range(10)], retries=3) == [
        1 + i % 2 for i in range(10)
    ]


def test_retries_as_a_view(process_pool, tmp_path):
    assert process_pool.options(retries=1).pipe(count_and_die, str(tmp_path / "count"), 1) == 2


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("timeout", "x", TypeError),
        ("timeout", float("nan"), ValueError),
        ("timeout", -1, ValueError),
        ("timeout", 10**400, ValueError),
        ("chunksize", "a", TypeError),
        ("chunksize", 1.5, TypeError),
        ("chunksize", 10**30, ValueError),
        ("retries", "a", TypeError),
        ("retries", -1, ValueError),
        ("retries", 10**30, ValueError),
    ],
)
def test_what_is_wrong_with_an_option_names_it(pool, option, value, error):
    with pytest.raises(error, match=f"^{option}= is a number of"):
        pool.map(abs, [-1], **{option: value})


def test_time_limits_as_long_as_for_ever(parallel_pool):
    for long in (float("inf"), 1e10, 1e300):
        assert parallel_pool.submit(sleepy, 0.01, timeout=long).result(long) == 0.01
        assert parallel_pool.imap(sleepy, [0.01]).next(long) == 0.01


@pytest.mark.parametrize("kind", [ergon.ThreadPool, ergon.ProcessPool])
def test_more_workers_than_there_can_be(kind):
    for n in (1001, 5000, 10**9, 10**30):
        with pytest.raises(ValueError, match=f"^{kind.__name__} takes at most 1000 workers"):
            kind(n)
    with pytest.raises(ValueError, match="at most 1000 workers"):
        ergon.Pool("local:600", "threads:600")
    with kind(1) as pool, pytest.raises(ValueError, match="^nodes takes at most 1000"):
        pool.nodes = 5000


def test_more_workers_than_the_user_may_have(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (100, 100))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ValueError, match=r"at most 100 processes and threads \(ulimit -u\), not 101"):
        ergon.ProcessPool(101)


@pytest.mark.parametrize(
    ("keyword", "value", "error"),
    [
        ("max_tasks", "x", TypeError),
        ("max_tasks", 1.5, TypeError),
        ("max_tasks", -1, ValueError),
        ("max_tasks", 10**30, ValueError),
        ("grace", "x", TypeError),
        ("grace", -1, ValueError),
        ("grace", float("nan"), ValueError),
        ("stop_limit", "x", TypeError),
        ("stop_limit", float("nan"), ValueError),
    ],
)
def test_what_is_wrong_with_a_keyword_names_it(keyword, value, error):
    with pytest.raises(error, match=f"^{keyword}= is a number of"):
        ergon.ThreadPool(1, **{keyword: value})


def test_bad_retries(pool):
    with pytest.raises((ValueError, TypeError)):
        pool.submit(abs, -1, retries=-1)
    with pytest.raises(TypeError):
        pool.submit(abs, -1, retries="often")


def test_options_are_a_view(pool):
    view = pool.options(chunksize=1, retries=1)
    assert view is not pool
    assert view.map(abs, [-1, -2]) == [1, 2]
    assert view.pipe(abs, -1) == 1
    assert view.options(timeout=60).pipe(abs, -1) == 1
    assert pool.map(abs, [-1]) == [1]


def test_unknown_options(pool):
    with pytest.raises(TypeError):
        pool.options(no_such_option=1)


def test_view_shares_the_pool(pool):
    view = pool.options(timeout=60)
    pids = set(pool.map(lambda i: (time.sleep(0.01), os.getpid())[1], range(30), chunksize=1))
    assert set(view.map(lambda i: os.getpid(), range(30), chunksize=1)) <= pids
    view.close()
    assert pool.closed
    with pytest.raises(ergon.errors.PoolClosed):
        pool.pipe(abs, -1)
    pool.restart()
    assert not view.closed and view.pipe(abs, -1) == 1


def test_options_of_a_closed_pool(pool):
    pool.close()
    with pytest.raises(ergon.errors.PoolClosed):
        pool.options(retries=1).map(abs, [-1])


def test_a_view_is_of_the_pools_class():
    class Mine(ergon.SerialPool):
        pass

    mine = Mine()
    mine.note = "kept"
    assert type(mine.options(retries=1)) is Mine and mine.options(retries=1).note == "kept"


@pytest.mark.parametrize("kind", [ergon.SerialPool, ergon.ThreadPool])
def test_what_a_pool_is_opened_with_is_checked(kind):
    for wrong, error in (
        ({"no_such_option": 1}, TypeError),
        ({"initializer": 1}, TypeError),
        ({"max_tasks": -1}, ValueError),
        ({"require": "some"}, ValueError),
    ):
        with pytest.raises(error):
            kind(1, **wrong)
    seen = []
    everything = {"max_tasks": 5, "stop_limit": 9, "grace": 2, "require": "all"}
    with kind(1, initializer=seen.append, initargs=(1,), **everything) as pool:
        assert pool.map(abs, [-1]) == [1] and seen == [1]


def test_progress_callable(parallel_pool):
    seen = []
    parallel_pool.map(sleepy, [0.005] * 100, progress=lambda done, total: seen.append((done, total)))
    assert seen, "progress was never reported"
    assert seen[-1] == (100, 100)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_progress_of_an_iterator(parallel_pool):
    seen = []
    results = parallel_pool.imap(abs, iter(range(50)), progress=lambda done, total: seen.append((done, total)))
    assert list(results) == list(range(50))
    assert seen[-1][0] == 50


def test_progress_on_standard_error(parallel_pool, capfd):
    assert parallel_pool.map(abs, range(100), progress=True) == list(range(100))
    captured = capfd.readouterr()
    assert captured.out == ""


def test_progress_of_a_failing_map(parallel_pool):
    with pytest.raises(ZeroDivisionError):
        parallel_pool.map(lambda x: 1 / x, [1, 2, 0, 4], progress=lambda done, total: None)


def where(_):
    return os.getpid()


def test_stats(parallel_pool):
    parallel_pool.map(abs, range(1000))
    stats = parallel_pool.stats
    assert stats["workers"], "no statistics"
    assert set(ergon.SerialPool().stats) == set(stats)


def test_nodes(pool):
    assert isinstance(pool.nodes, int) and pool.nodes >= 1


def test_loading_does_not_count_against_a_timeout(tmp_path, monkeypatch):
    (tmp_path / "slow_to_import.py").write_text(
        "import os, time\n"
        "time.sleep(1.5 if 'ERGON_SLOW_IMPORT' in os.environ else 0)\n"
        "def quick(x): return x\n"
        "def endless(x): time.sleep(600)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import slow_to_import

    monkeypatch.setenv("ERGON_SLOW_IMPORT", "1")
    with ergon.ProcessPool(1) as pool:
        assert pool.submit(slow_to_import.quick, 1, timeout=0.5).result(60) == 1
        with pytest.raises(TaskTimeout):
            pool.submit(slow_to_import.endless, 1, timeout=0.1).result(60)
    with ergon.ProcessPool(1) as pool, pytest.raises(TaskTimeout):
        pool.submit(slow_to_import.endless, 1, timeout=0.1).result(60)


@pytest.mark.parametrize(("pool", "kind"), [(ergon.ThreadPool, "process"), (ergon.ProcessPool, "thread")])
def test_a_kind_of_worker_the_pool_has_none_of_is_refused(pool, kind):
    with pool(1) as p:
        with pytest.raises(ValueError, match=f"no worker of this pool is a {kind}"):
            p.map(abs, [-1], resources={"kind": kind})
        with pytest.raises(ValueError, match=f"no worker of this pool is a {kind}"):
            p.submit(abs, -1, resources={"kind": kind})
        other = "thread" if kind == "process" else "process"
        assert p.map(abs, [-1], resources={"kind": other}) == [1]


def test_each_kind_of_worker_of_a_mixed_pool_is_served():
    with ergon.Pool("local:1", "threads:1") as p:
        mine = os.getpid()
        assert p.submit(os.getpid, resources={"kind": "thread"}).result() == mine
        assert p.submit(os.getpid, resources={"kind": "process"}).result() != mine
