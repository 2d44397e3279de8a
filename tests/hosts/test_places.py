"""Pools whose workers belong to an agent at the other end of a link: here a process beside us, started by a command."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import ergon
import numpy
import pytest

HERE = str(pathlib.Path(ergon.__file__).resolve().parent.parent)
AGENT = f"env PYTHONPATH={HERE} {sys.executable} -m ergon._agent"


def place(slots=2, **options):
    return f"exec:{AGENT}?slots={slots}" + "".join(f"&{k}={v}" for k, v in options.items())


def host(pool, number=0):
    return pool.stats["hosts"][number]


def wait_until(true, seconds=20):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def pool():
    with ergon.Pool(place(2)) as p:
        yield p


@pytest.fixture(scope="module")
def mixed():
    with ergon.Pool("local:1", place(1), place(2)) as p:
        assert p._wait_up(4, 30)
        yield p


def where(_=None):
    time.sleep(0.02)
    return os.getppid()


def test_calls_come_back(pool):
    assert pool.pipe(pow, 2, 10) == 1024
    assert pool.pipe(int, "ff", base=16) == 255
    assert host(pool)["tasks"] >= 2 and host(pool)["state"] == "up" and host(pool)["slots"] == 2
    assert pool.nodes == 2


def test_workers_are_the_agents(pool):
    pid = host(pool)["pid"]
    assert pid != os.getpid()
    parents = set(pool.map(where, range(8), chunksize=1))
    assert os.getpid() not in parents


def test_maps(pool):
    assert pool.map(lambda x: x * x, range(1000)) == [x * x for x in range(1000)]
    assert pool.map(max, [1, 5, 3], [4, 2, 9]) == [4, 5, 9]
    assert list(pool.imap(str, range(300))) == [str(i) for i in range(300)]
    assert sorted(pool.uimap(abs, range(-50, 0))) == list(range(1, 51))
    assert pool.starmap(pow, [(2, 3), (3, 2)]) == [8, 9]
    assert pool.amap(len, ["a", "bb"]).result() == [1, 2]


def test_results_of_every_size(pool):
    sizes = [0, 1, 60, 61, 64, 65, 100, 1000, 16383, 16384, 16385, 70000, 1 << 20, (1 << 20) + 13]
    assert [len(r) for r in pool.map(lambda n: b"x" * n, sizes)] == sizes
    for n in sizes:
        assert pool.pipe(lambda n: "é" * n, n) == "é" * n
        assert pool.pipe(len, bytes(n)) == n


def test_a_map_of_large_results_has_more_than_one_block(pool):
    texts = pool.map(lambda i: str(i) * 20000, range(200), chunksize=50)
    assert texts == [str(i) * 20000 for i in range(200)]


def test_arrays_go_both_ways(pool):
    a = numpy.arange(3_000_000, dtype="f8")
    b = pool.pipe(lambda x: x * 2, a)
    assert (b == a * 2).all()
    b[0] = 7  # ours
    arrays = pool.map(lambda n: numpy.full(n, n, dtype="i4"), [10, 100_000, 5, 300_000])
    assert [x.sum() for x in arrays] == [100, 100_000**2, 25, 300_000**2]
    sums = pool.map(lambda x: float(x.sum()), [numpy.ones(50_000 * i) for i in range(1, 8)])
    assert sums == [50_000.0 * i for i in range(1, 8)]


def test_exceptions_keep_their_traceback(pool):
    def fails(x):
        raise KeyError(x)

    with pytest.raises(KeyError) as info:
        pool.pipe(fails, "k")
    assert "fails" in str(info.value.__cause__)
    with pytest.raises(ZeroDivisionError):
        pool.map(lambda x: 1 // x, [1, 0, 2])


def test_a_function_travels_once(pool):
    big = bytes(300_000)

    def f(x):
        return len(big) + x

    pool.pipe(f, 0)
    before = pool.stats["hosts"][0]["bytes_out"]
    assert pool.map(f, range(200)) == [300_000 + i for i in range(200)]
    assert pool.stats["hosts"][0]["bytes_out"] - before < 400_000  # once for the call, not for each item


def test_closures_that_change(pool):
    n = [0]

    def f():
        return n[0]

    for i in range(30):
        n[0] = i
        assert pool.pipe(f) == i


def test_put_objects_travel_once(pool):
    a = numpy.arange(1_000_000)
    handle = pool.put(a)
    assert pool.map(lambda x, i: int(x[i]), [handle] * 50, range(50)) == list(range(50))
    assert pool.pipe(lambda x: x.flags.writeable, handle) is False
    total = pool.map(lambda x, i: int(x.sum()) + i, [a] * 20, range(20))
    assert total == [int(a.sum()) + i for i in range(20)]
    del handle


def test_put_objects_give_their_memory_back(pool):
    def once():
        handle = pool.put(numpy.zeros(4_000_000))
        assert pool.pipe(len, handle) == 4_000_000

    once()
    wait_until(lambda: pool.pipe(abs, 1) == 1)
    before = pool.stats["memory_bytes"]
    for _ in range(6):
        once()
        time.sleep(0.3)
    assert pool.stats["memory_bytes"] < before + 4 * 32_000_000


def test_graphs_cross_places(mixed):
    def make(i):
        return numpy.full(20_000, i)

    def add(a, b):
        return a + b

    layer = [mixed.submit(make, i) for i in range(32)]
    while len(layer) > 1:
        layer = [mixed.submit(add, a, b) for a, b in zip(layer[::2], layer[1::2])]
    assert (layer[0].result() == sum(range(32))).all()


def test_a_failure_goes_down_a_chain(mixed):
    def fails():
        raise ValueError("first")

    f = mixed.submit(fails)
    for _ in range(20):
        f = mixed.submit(lambda x: x, f)
    with pytest.raises(ValueError, match="first"):
        f.result()


def test_everybody_takes_part(mixed):
    parents = mixed.map(where, range(60), chunksize=1)
    assert len(set(parents)) == 3
    assert parents.count(os.getpid()) < 60


def test_results_in_order_from_everywhere(mixed):
    def f(i):
        time.sleep(0.0005 * (i % 7))
        return i

    assert mixed.map(f, range(600)) == list(range(600))
    assert list(mixed.imap(f, range(300))) == list(range(300))


def test_ten_thousand_small_calls(mixed):
    futures = [mixed.apipe(abs, -i) for i in range(10_000)]
    assert [f.result() for f in futures] == list(range(10_000))


def test_where_a_call_may_run():
    with ergon.Pool("local:1", place(1, tags="a,fast"), place(1, tags="b,fast")) as p:
        assert p._wait_up(3, 30)

        def parents(**resources):
            return set(p.map(where, range(12), chunksize=1, resources=resources))

        here, a, b = parents(host="local"), parents(host="a"), parents(tags="b")
        assert len(here) == len(a) == len(b) == 1 and len(here | a | b) == 3
        assert parents(host=["a", "b"]) == parents(tags="fast") == a | b
        assert p.submit(where, resources={"host": "a"}).result() in a
        assert p.options(resources={"host": "b"}).pipe(where) in b
        with pytest.raises(ValueError, match="nobody"):
            p.map(abs, [1], resources={"host": "nobody"})
        with pytest.raises(ValueError, match="a name"):
            p.map(abs, [1], resources={"host": 3})
        os.kill(host(p)["pid"], signal.SIGKILL)
        wait_until(lambda: host(p)["state"] == "lost")
        with pytest.raises(ergon.errors.WorkerLost, match="tags=a"):
            p.map(abs, [1], resources={"host": "a"})
        assert p.map(abs, [-1], resources={"host": "b"}) == [1]


def test_timeouts_and_cancelling(pool):
    with pytest.raises(ergon.errors.TaskTimeout):
        pool.options(timeout=0.2).pipe(time.sleep, 30)
    f = pool.apipe(time.sleep, 30)
    wait_until(lambda: host(pool)["leased"] == 1)
    assert f.cancel()
    with pytest.raises(ergon.errors.TaskCancelled):
        f.result(20)
    assert pool.pipe(abs, -3) == 3


def test_a_worker_that_dies_there(pool):
    with pytest.raises(ergon.errors.WorkerLost, match="SIGKILL"):
        pool.pipe(lambda: os.kill(os.getpid(), signal.SIGKILL))

    def once(path):
        if not os.path.exists(path):
            open(path, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return "second time"

    path = os.path.join(os.environ["TMPDIR"], f"once-{os.getpid()}")
    assert pool.options(retries=2).pipe(once, path) == "second time"
    os.unlink(path)

    def item(i):
        if i == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return i

    good, lost = [], 0
    results = pool.imap(item, range(20), chunksize=10)
    while True:
        try:
            good.append(next(results))
        except StopIteration:
            break
        except ergon.errors.WorkerLost:
            lost += 1
    assert lost == 1 and good == [i for i in range(20) if i != 5]


def test_the_agent_is_killed():
    with ergon.Pool("local:1", place(2)) as p:
        assert p._wait_up(3, 30)
        pid = host(p)["pid"]
        f = [p.apipe(time.sleep, 20) for _ in range(3)]
        wait_until(lambda: host(p)["leased"] == 2)
        os.kill(pid, signal.SIGKILL)
        lost = 0
        for one in f:
            if isinstance(one.exception(0.1) if one.done() else None, ergon.errors.WorkerLost):
                lost += 1
        wait_until(lambda: sum(one.done() for one in f) == 2)
        words = [str(one.exception()) for one in f if one.done()]
        assert all("_agent" in w and "host" in w for w in words), words
        for one in f:
            one.cancel()
        assert host(p)["state"] == "lost"
        assert p.map(abs, range(-10, 0)) == list(range(10, 0, -1))  # goes on with the rest


def test_retries_when_the_agent_is_killed(tmp_path):
    def slow(folder, i):
        with open(f"{folder}/{i}-{os.getpid()}", "w"):
            time.sleep(0.3)
        return i

    with ergon.Pool("local:1", place(2)) as p:
        assert p._wait_up(3, 30)
        view = p.options(retries=2)
        f = [view.apipe(slow, str(tmp_path), i) for i in range(6)]
        wait_until(lambda: host(p)["leased"] == 2)
        os.kill(host(p)["pid"], signal.SIGKILL)
        assert [one.result(30) for one in f] == list(range(6))


def test_a_map_when_the_agent_is_killed():
    def item(i):
        time.sleep(0.01)
        return i

    with ergon.Pool("local:1", place(2)) as p:
        assert p._wait_up(3, 30)
        f = p.options(retries=3).amap(item, range(200))
        wait_until(lambda: host(p)["tasks"] > 1)
        os.kill(host(p)["pid"], signal.SIGKILL)
        assert f.result(60) == list(range(200))


def test_the_only_place_is_killed():
    p = ergon.Pool(place(1))
    assert p._wait_up(1, 30)
    f = [p.apipe(time.sleep, 20) for _ in range(4)]
    wait_until(lambda: host(p)["leased"] == 1)
    os.kill(host(p)["pid"], signal.SIGKILL)
    for one in f:  # whether it ran there, was sent there or had not been sent
        assert type(one.exception(20)) is ergon.errors.WorkerLost and "_agent" in str(one.exception())
    with pytest.raises(ergon.errors.WorkerLost, match="_agent"):
        p.pipe(abs, 1)
    p.terminate()


def test_a_place_that_is_up_for_a_moment_was_there(rounds):
    """However soon it is lost: nobody is told that nothing came up."""
    for _ in range(5 * len(rounds)):
        with ergon.Pool(place(1)) as p:
            f = p.submit(time.sleep, 1000)
            while not (pid := host(p)["pid"]):
                pass
            os.kill(pid, signal.SIGKILL)
            assert type(f.exception(60)) is ergon.errors.WorkerLost


def test_what_does_not_come_up_is_named():
    with ergon.Pool("exec:echo no such thing >&2; exit 3") as p:
        with pytest.raises(ergon.errors.LaunchError, match="no such thing"):
            p._wait_up(1, 20)
        with pytest.raises(ergon.errors.LaunchError, match="exec:echo"):
            p.pipe(abs, 1)
    with ergon.Pool("local:1", "exec:exit 3") as p:
        wait_until(lambda: host(p)["state"] == "failed")
        assert p.map(abs, [-1, -2]) == [1, 2]


def test_close_join_restart_terminate():
    p = ergon.Pool(place(2))
    f = [p.apipe(abs, -i) for i in range(100)]
    p.close()
    p.join()
    assert [one.result() for one in f] == list(range(100))
    p.restart()
    assert p.pipe(abs, -5) == 5
    f = p.apipe(time.sleep, 30)
    wait_until(lambda: host(p)["leased"] == 1)
    p.terminate()
    assert f.cancelled() or isinstance(f.exception(), ergon.errors.ErgonError)


def test_what_a_function_closes_over_travels_once_as_long_as_it_stays_the_same():
    """Also what is mutable, and large: every call sees it as it is then, and none what another has made of it."""
    size = 1 << 20
    data = numpy.zeros(size, dtype="u1")

    def take(i):
        data[i] += 1
        return int(data.sum())

    with ergon.Pool(place(2)) as pool:
        assert pool._wait_up(2, 30)
        before = host(pool)["bytes_out"]
        assert [pool.pipe(take, i) for i in range(10)] == [1] * 10
        assert [f.result() for f in [pool.apipe(take, i) for i in range(10)]] == [1] * 10
        assert host(pool)["bytes_out"] - before < 2 * size
        data[5] = 7
        assert [pool.pipe(take, i) for i in range(10)] == [8] * 10
        data[5] = 0
        assert pool.pipe(take, 0) == 1
        assert host(pool)["bytes_out"] - before < 4 * size


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


PROGRAM = """
import os, sys, time, ergon
p = ergon.Pool(sys.argv[1])
print(p.stats["hosts"][0]["pid"] if p._wait_up(2, 30) else 0, *set(p.map(lambda i: (time.sleep(0.05), os.getpid())[1], range(8), chunksize=1)), flush=True)
p.pipe(time.sleep, 60)
"""


@pytest.mark.slow
def test_the_client_is_killed():
    env = {**os.environ, "PYTHONPATH": HERE}
    client = subprocess.Popen([sys.executable, "-c", PROGRAM, place(2)], stdout=subprocess.PIPE, text=True, env=env)
    pids = [int(word) for word in client.stdout.readline().split()]
    assert len(pids) >= 2 and all(alive(pid) for pid in pids)
    client.kill()
    client.wait()
    client.stdout.close()
    wait_until(lambda: not any(alive(pid) for pid in pids), 60)


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded")  # from CPython 3.12 on
def test_a_child_of_the_client_holds_nothing():
    with ergon.Pool(place(1)) as p:
        assert p.pipe(abs, -1) == 1
        pid = os.fork()
        if pid == 0:
            try:
                p.pipe(abs, -1)
            except ergon.errors.PoolClosed:
                os._exit(0)
            os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0
        assert p.pipe(abs, -2) == 2


def slow_item(i):
    time.sleep(0.1 if i >= 20 else 0.001)
    return os.getppid()


def test_what_runs_elsewhere_is_shared_at_the_end():
    with ergon.Pool("local:1", place(1)) as p:
        assert p._wait_up(2, 30)
        parents = p.map(slow_item, range(40), chunksize=20)
        assert len(set(parents[20:])) == 2  # the second chunk was cut, wherever it ran
        assert len(parents) == 40


@pytest.mark.slow
def test_what_waits_elsewhere_comes_back_at_the_end():
    with ergon.Pool(place(1)) as p:
        assert p._wait_up(1, 30)
        p.map(where, range(20), chunksize=1)
        slow = [p.apipe(where) for _ in range(100)]
        p._resize(2, -1)
        assert len({one.result() for one in slow}) == 2


SLOW = pathlib.Path(__file__).with_name("slow_link.py")


@pytest.mark.slow
def test_a_long_link_keeps_its_workers_busy():
    def nap(i):
        time.sleep(0.002)
        return i

    with ergon.Pool(f"exec:{sys.executable} {SLOW} 20 {AGENT}?slots=4") as p:
        assert p._wait_up(4, 30)
        assert p.map(nap, range(1000)) == list(range(1000))
        before, start = host(p)["busy_s"], time.monotonic()
        assert p.map(nap, range(3000)) == list(range(3000))
        share = (host(p)["busy_s"] - before) / (time.monotonic() - start) / 4
        assert 0.035 < host(p)["rtt_s"]
        assert share > 0.5, share  # 0.95 on a quiet machine; without looking ahead 0.05


@pytest.mark.slow
def test_a_link_that_is_cut_for_good():
    with ergon.Pool("local:1", f"exec:exec {sys.executable} {SLOW} 1 {AGENT}?slots=1") as p:
        assert p._wait_up(2, 30)
        f = p.options(retries=1).amap(where, range(50), chunksize=1)
        wait_until(lambda: host(p)["tasks"] > 1)
        for pid in children(os.getpid()):
            if b"slow_link.py" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGUSR1)
        assert len(f.result(60)) == 50
        assert host(p)["state"] in ("lost", "broken")


def children(pid):
    lists = [path.read_text() for path in pathlib.Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(word) for line in lists for word in line.split()]


def note(folder, i):
    with open(os.path.join(folder, str(i)), "a") as f:
        f.write("x")
    time.sleep(0.005)
    return bytes(i)


@pytest.mark.slow
def test_links_that_break_again_and_again_lose_nothing(tmp_path):
    """What connects is killed many times over; every call ran once, every result is there once."""
    with ergon.Pool(f'exec:{sys.executable} {SLOW} 1 sh -c "$ERGON_AGENT"?slots=2') as p:
        assert p._wait_up(2, 60)
        agent = host(p)["pid"]
        f = p.amap(note, [str(tmp_path)] * 600, range(600), chunksize=1)
        singles = [p.apipe(note, str(tmp_path), 600 + 50 * i) for i in range(20)]
        breaks = 0
        while not f.done() and breaks < 8:
            time.sleep(0.15)
            for pid in children(os.getpid()) if host(p)["state"] == "up" else ():
                if "ERGON_AGENT" in pathlib.Path(f"/proc/{pid}/cmdline").read_text():
                    os.killpg(pid, signal.SIGKILL)
                    breaks += 1
        assert f.result(60) == [bytes(i) for i in range(600)]
        assert [len(one.result(60)) for one in singles] == [600 + 50 * i for i in range(20)]
        assert breaks > 2 and host(p)["pid"] == agent
        assert {path.read_text() for path in tmp_path.iterdir()} == {"x"}


def test_top_shows_places_by_name():
    command = pathlib.Path(sys.executable).with_name("ergon")
    with ergon.Pool("local:1", place(2, tags="big"), place(1)) as p:
        assert p._wait_up(4, 30)
        p.map(pow, range(4000), [2] * 4000, resources={"tags": "big"})

        def seen(*words):
            done = subprocess.run(
                [command, "top", "-p", str(os.getpid()), *words], capture_output=True, text=True, check=True
            )
            return done.stdout

        def rows():
            found = [q["places"] for q in json.loads(seen("--json"))]
            # Names are cut, tags may be beyond: other pools of these tests have other slots.
            return next(places for places in found if [one["slots"] for one in places] == [2, 1])

        wait_until(lambda: rows()[0]["tasks"] > 0)
        big, small = rows()
        told = [host(p, n) for n in range(2)]
        for row, one in zip((big, small), told, strict=True):
            assert one["name"].startswith(row["name"]) and row["state"] == "up"
            assert (row["slots"], row["tasks"]) == (one["slots"], one["tasks"])
        assert big["bytes_in"] > 0 and big["bytes_out"] > 0 and small["tasks"] == 0
        lines = [line for line in seen("--once").splitlines() if line.lstrip().startswith("exec:env")]
        assert len(lines) >= 2 and all(" up " in line for line in lines)
