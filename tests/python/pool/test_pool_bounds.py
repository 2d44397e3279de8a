"""What a pool holds and what that costs, and what bounds its workers: nodes, max_tasks, grace."""

import collections
import os
import pathlib
import time

import ergon
import pytest
from ergon.errors import TaskInterrupted, TaskTimeout

# memory

MEASURE = """
import gc, sys
import ergon

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

def chain(pool, n):
    kept = [pool.submit(add, 1)]
    for _ in range(n - 1):
        kept.append(pool.submit(add, kept[-1], 1))
    assert kept[-1].result(600) == n % 1_000_003
    return kept

def mesh(pool, n, width=1000):
    row = [pool.submit(add, i) for i in range(width)]
    values = list(range(width))
    kept = row[:]
    for _ in range(n // width - 1):
        row = [pool.submit(add, *row[max(i - 1, 0) : i + 2]) for i in range(width)]
        values = [sum(values[max(i - 1, 0) : i + 2]) % 1_000_003 for i in range(width)]
        kept += row
    assert [f.result(600) for f in row] == values
    return kept

def add(*values):
    return sum(values) % 1_000_003

shape, n = sys.argv[1], int(sys.argv[2])
with ergon.ProcessPool(2) as pool:
    pool.map(add, range(100))
    gc.collect()
    before, table = resident(), pool.stats["memory_bytes"]
    kept = {"chain": chain, "mesh": mesh}[shape](pool, n)
    print((resident() - before) / n, (pool.stats["memory_bytes"] - table) / n)
    kept.clear()
    if shape == "chain":
        assert chain(pool, n // 10)[-1].done(), "the records are free again"
        print((pool.stats["memory_bytes"] - table) / n)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "table_most", "resident_most"),
    [("chain", 264, 480), ("mesh", 800, 1050)],  # one and up to three predecessors
)
def test_bytes_per_node_of_a_graph_of_a_million(script, shape, table_most, resident_most):
    """Every future is kept. `memory_bytes` is the shared table; what is resident is that and the Future objects."""
    lines = script(MEASURE, shape, str(10**6), timeout=900).stdout.splitlines()
    resident, table = map(float, lines[0].split())
    assert 256 <= table <= table_most, f"{table:.0f} bytes of the table a node"
    assert table < resident <= resident_most, f"{resident:.0f} bytes a node"
    if shape == "chain":
        assert float(lines[1]) <= table * 1.01


FULL = """
import operator, resource, signal, threading, time
import ergon
from ergon.errors import ErgonError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (160 << 20, resource.RLIM_INFINITY))  # so the table is a small one
pool = ergon.{pool}(1)
assert pool.map(abs, [-1]) == [1]

def fill(kept):
    try:
        while len(kept) < 2_000_000:
            kept.append(pool.submit(operator.add, len(kept), 1))
    except ErgonError as error:
        return error

kept = []
error = fill(kept)
room = len(kept)
assert 1000 < room < 1_000_000 and "take some, or drop their futures" in str(error), (room, error)

# One result is taken, one more call is entered.
assert kept.pop().result(60) == room
kept.append(pool.submit(operator.add, room - 1, 1))

# Futures that are dropped make room as well.
del kept[:500]
kept += [pool.submit(abs, -i) for i in range(500)]

# Another thread takes results: whoever enters a call waits for that.
late = threading.Timer(0.5, lambda: [kept.pop(0).result(60) for _ in range(100)])
late.start()
kept += [pool.submit(abs, -i) for i in range(100)]
late.join()

# A call that runs longer than the wait lasts otherwise, and that nobody keeps.
del kept[:1]
pool.apipe(time.sleep, 7)
kept.append(pool.submit(abs, -5))
assert kept[-1].result(60) == 5

assert [f.result(60) for f in kept[:3]] is not None and len(kept) == room
kept.clear()
assert pool.map(abs, range(-1000, 0)) == list(range(1000, 0, -1))
pool.close()
pool.join()
"""


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["ProcessPool", "ThreadPool"])
def test_more_calls_than_there_are_records(script, pool):
    """Entering one more waits while records can come free, and is an error when nobody takes results."""
    script(FULL.replace("{pool}", pool))


FULL_INSIDE = """
import operator, resource, signal
import ergon

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (160 << 20, resource.RLIM_INFINITY))

def fill(pool):
    kept = []
    try:
        while len(kept) < 2_000_000:
            kept.append(pool.submit(operator.add, len(kept), 1))
    except ergon.errors.ErgonError as error:
        assert kept[0].result(60) == 1
        return len(kept), str(error)

with ergon.ProcessPool(1) as pool:
    room, words = pool.pipe(fill, pool)
    assert 1000 < room < 1_000_000 and "take some" in words, (room, words)
    assert pool.map(abs, range(-1000, 0)) == list(range(1000, 0, -1))
"""


FULL_TOGETHER = """
import operator, resource, signal, time
import ergon

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (160 << 20, resource.RLIM_INFINITY))

def fill(pool):
    kept = []
    try:
        while len(kept) < 2_000_000:
            kept.append(pool.submit(operator.add, len(kept), 1))
    except ergon.errors.ErgonError as error:
        return len(kept), str(error)

def wait(pool):
    return pool.submit(fill, pool).result()

with ergon.{pool}(3) as pool:
    tasks = [pool.submit(task, pool) for task in (fill, wait, fill)]
    for task in tasks:
        room, words = task.result(120)
        assert room < 1_000_000 and "take some" in words, (room, words)
    assert sum(task.result()[0] for task in tasks) > 1000
    assert pool.map(abs, range(-1000, 0)) == list(range(1000, 0, -1))
"""


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["ProcessPool", "ThreadPool"])
def test_all_workers_enter_more_calls_than_there_are_records(script, pool):
    """Nobody is left to take what is ready: each of them hears so, also while one waits for another."""
    script(FULL_TOGETHER.replace("{pool}", pool))


@pytest.mark.slow
def test_a_task_enters_more_calls_than_there_are_records(script):
    script(FULL_INSIDE)


# workers


def where(_):
    time.sleep(0.002)
    return os.getpid()


def test_max_tasks():
    """A worker leaves after so many calls and is replaced; that is no loss."""
    with ergon.ProcessPool(2, max_tasks=5) as pool:
        calls = collections.Counter(pool.map(where, range(43), chunksize=1))
        assert sum(calls.values()) == 43 and max(calls.values()) <= 5 and len(calls) >= 9
        stats = pool.stats
        assert (stats["workers_lost"], stats["tasks_lost"], stats["tasks_retried"]) == (0, 0, 0)
        assert stats["workers_started"] >= 9
        assert pool.map(abs, range(-300, 0)) == list(range(300, 0, -1))


def test_max_tasks_of_one():
    with ergon.ProcessPool(2, max_tasks=1) as pool:
        futures = [pool.apipe(where, i) for i in range(6)]
        assert len({f.result(60) for f in futures}) == 6


def test_max_tasks_is_a_count():
    with pytest.raises(ValueError, match="max_tasks"):
        ergon.ProcessPool(1, max_tasks=-1)


def slow_to_stop(path, seconds):
    pathlib.Path(path + ".begun").write_text(str(os.getpid()))
    try:
        while True:
            time.sleep(0.01)
    except TaskInterrupted:
        time.sleep(seconds)
        pathlib.Path(path).touch()
        raise


def test_grace_is_time_to_clean_up(tmp_path):
    path = tmp_path / "cleaned"
    with ergon.ProcessPool(1, grace=60) as pool:
        pid = pool.pipe(os.getpid)
        with pytest.raises(TaskTimeout):
            pool.submit(slow_to_stop, str(path), 1.5, timeout=0.2).result(120)  # longer than the usual second
        assert path.exists()
        assert pool.pipe(os.getpid) == pid and pool.stats["workers_lost"] == 0


def test_after_grace_the_worker_is_killed(tmp_path):
    path = tmp_path / "cleaned"
    with ergon.ProcessPool(1, grace=0.1) as pool:
        with pytest.raises(TaskTimeout):
            pool.submit(slow_to_stop, str(path), 600, timeout=0.2).result(120)
        assert not path.exists()
        assert pool.pipe(os.getpid) != int((tmp_path / "cleaned.begun").read_text())
        deadline = time.monotonic() + 60  # the new worker may be faster than the news of it
        while pool.stats["workers_started"] < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert pool.stats["workers_started"] == 2


def count_up(pool, n):
    deadline = time.monotonic() + 60
    while pool.stats["workers_up"] != n:
        assert time.monotonic() < deadline, pool.stats
        time.sleep(0.005)


@pytest.mark.parametrize("kind", [ergon.ProcessPool, ergon.ThreadPool])
def test_nodes_can_be_assigned(kind):
    with kind(1) as pool:
        assert pool.map(abs, range(-10, 0)) == list(range(10, 0, -1))
        for n in (3, 1, 2):
            pool.nodes = n
            assert pool.nodes == n
            assert pool.map(abs, range(-100, 0)) == list(range(100, 0, -1))
            count_up(pool, n)
        assert pool.stats["workers_lost"] == 0


def test_nodes_change_while_a_map_runs():
    """Those that come take part, those that leave end their call first."""
    with ergon.ProcessPool(1) as pool:
        results = pool.amap(where, range(600))
        pool.nodes = 3
        count_up(pool, 3)
        assert len(set(results.result(120))) == 3
        results = pool.amap(where, range(300))
        pool.nodes = 1
        assert len(results.result(120)) == 300
        count_up(pool, 1)
        assert pool.stats["workers_lost"] == pool.stats["tasks_lost"] == 0


def test_nodes_of_a_mixed_pool_are_those_of_processes():
    with ergon.Pool("local:1", "threads:1") as pool:
        pool.nodes = 3
        assert pool.nodes == 3 and pool.processes == 2 and pool.threads == 1
        assert pool.map(abs, range(-100, 0)) == list(range(100, 0, -1))


@pytest.mark.parametrize("wrong", [0, -1])
def test_nodes_must_be_a_number_of_workers(wrong):
    with ergon.ThreadPool(1) as pool:
        with pytest.raises(ValueError):
            pool.nodes = wrong
        assert pool.nodes == 1 and pool.pipe(abs, -1) == 1


COUNTS = {
    "workers_up",
    "workers_started",
    "workers_lost",
    "tasks_lost",
    "tasks_retried",
    "tasks_interrupted",
    "first_up_s",
    "memory_bytes",
}
WORKER = {"number", "kind", "state", "pid", "tasks", "busy_s", "bytes_in", "bytes_out"}


def test_stats_have_the_documented_keys(parallel_pool):
    """The keys of docs/pools.md, and no others."""
    parallel_pool.map(where, range(20), chunksize=1)
    stats = parallel_pool.stats
    assert set(stats) == {"workers", "hosts"} | COUNTS
    assert all(isinstance(stats[key], (int, float)) and stats[key] >= 0 for key in COUNTS)
    assert len(stats["workers"]) == parallel_pool.nodes == stats["workers_up"] == 2
    assert all(set(worker) == WORKER for worker in stats["workers"]) and stats["hosts"] == []
    assert {worker["kind"] for worker in stats["workers"]} <= {"process", "thread"}
    assert stats["workers_started"] >= parallel_pool.processes and stats["memory_bytes"] > 0
    if stats["workers_lost"] == 0:
        assert sum(worker["tasks"] for worker in stats["workers"]) >= 20
    text = (pathlib.Path(__file__).parents[3] / "docs" / "pools.md").read_text()
    assert all(f"`{key}`" in text for key in COUNTS | WORKER | {"workers", "hosts"})
