"""What breaks between a pool and its hosts: links gone for long, processes that are killed, clocks, slow hosts."""

import contextlib
import os
import signal
import subprocess
import time
import uuid

import ergon
import numpy
import pytest
from ergon.errors import WorkerLost
from test_places import AGENT, host, place, wait_until
from trouble import note, nothing_left, ran, victims, where

pytestmark = pytest.mark.slow

# --- links ----------------------------------------------------------------------------------------------------


def test_a_link_that_is_gone_for_long(hosts):
    """The agent hears at once that its link ended, and is found again when more than ten seconds have gone by."""
    path = f"/tmp/{uuid.uuid4()}"
    with ergon.Pool("ssh://h1?slots=2") as pool:
        future = pool.amap(note, [path] * 300, range(300), chunksize=1)
        wait_until(lambda: host(pool)["tasks"] > 10)
        agent = host(pool)["pid"]
        hosts["h1"].cut()
        hosts["h1"].disconnect()
        time.sleep(14)
        hosts["h1"].heal()
        assert future.result(60) == [item * item for item in range(300)]
        assert host(pool)["pid"] == agent
    assert ran(path) == list(range(300))  # each once
    nothing_left(hosts["h1"], 15)


def big(value):
    time.sleep(0.05)
    return numpy.full(50 << 17, value, dtype="f8")


def test_a_link_that_is_cut_while_values_travel(hosts):
    """Fifty megabytes each, in both directions."""
    with ergon.Pool("ssh://h1?slots=2") as pool:
        there = [pool.apipe(big, i) for i in range(4)]
        here = [pool.apipe(numpy.sum, numpy.full(50 << 17, float(i))) for i in range(4)]
        time.sleep(0.7)
        hosts["h1"].cut()
        time.sleep(5)
        hosts["h1"].heal()
        assert [one.result(120)[5] for one in there] == [0, 1, 2, 3]
        assert [one.result(120) for one in here] == [i * float(50 << 17) for i in range(4)]
    nothing_left(hosts["h1"], 15)


# --- processes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["attached", "ssh", "keeper", "zygote", "worker", "agent"])
def test_each_process_in_turn_is_killed(hosts, who, rounds):
    """Under load: all is done in the end, once where nothing that ran was killed, and nothing stays."""
    for _ in rounds:
        path = f"/tmp/{uuid.uuid4()}"
        retries = 3 if who in ("worker", "agent") else 0
        with ergon.Pool("ssh://h3?slots=2", "local:1") as pool:
            wait_until(lambda: "h3" in pool.map(where, range(20)))
            future = pool.options(retries=retries).amap(note, [path] * 300, range(300), chunksize=2)
            time.sleep(0.2)
            os.kill(victims(hosts["h3"], os.getpid())[who], signal.SIGKILL)
            assert future.result(60) == [item * item for item in range(300)]
        items = ran(path)
        assert set(items) == set(range(300)) and (retries or len(items) == 300)
        nothing_left(hosts["h3"], 15)


def test_what_is_without_retries_names_the_host(hosts):
    with ergon.Pool("ssh://h3?slots=2", "local:1") as pool:
        wait_until(lambda: "h3" in pool.map(where, range(20)))
        there = [pool.submit(time.sleep, 1000, resources={"host": "h3"}) for _ in range(2)]
        wait_until(lambda: host(pool)["leased"] == 2)
        os.kill(victims(hosts["h3"], os.getpid())["agent"], signal.SIGKILL)
        for one in there:
            with pytest.raises(WorkerLost, match="ssh://h3"):
                one.result(60)
        assert "tried again" in host(pool)["words"]
        assert pool.map(abs, [-1, -2]) == [1, 2]


# --- slow hosts, clocks, what workers are told ------------------------------------------------------------------


def at_own_pace(path, item):
    time.sleep(float(os.environ.get("PACE", "0.002")))
    return note(path, item, 0)


def test_what_queues_at_a_slow_host_comes_back(tmp_path):
    """It had much on its way because it was fast; now others idle, and take it. Each call runs once."""
    path = str(tmp_path / "ran")
    slow = f"exec:env PACE=0.3 {AGENT}?slots=1&tags=slow"
    with ergon.Pool(slow, place(2)) as pool:
        assert pool._wait_up(3, 30)
        pool.map(abs, range(2000), chunksize=1)
        before = host(pool)["tasks"]
        calls = [pool.apipe(at_own_pace, path, i) for i in range(400)]
        assert [one.result(60) for one in calls] == [i * i for i in range(400)]
        assert ran(path) == list(range(400))
        assert host(pool)["tasks"] - before < 60  # a hundred and more had been sent there


@pytest.mark.skipif(os.geteuid() != 0, reason="a time namespace needs root")
def test_a_host_with_another_clock():
    """Its monotonic clock is eleven days ahead. (Nothing of a pool's reads the time of day.)"""
    ahead = "unshare --time --monotonic 1000000 --boottime 1000000 --fork --kill-child"
    probe = subprocess.run([*ahead.split(), "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("no time namespaces here: " + probe.stderr.decode().strip())
    with ergon.Pool(f"exec:{ahead} {AGENT}?slots=2") as pool:
        assert pool.pipe(time.monotonic) > time.monotonic() + 900_000
        assert pool.map(abs, range(-500, 0)) == list(range(500, 0, -1))
        with pytest.raises(ergon.errors.TaskTimeout):
            pool.options(timeout=0.2).pipe(time.sleep, 30)
        assert pool.options(timeout=20).pipe(abs, -1) == 1
        assert 0 < host(pool)["rtt_s"] < 5


def test_workers_there_are_replaced_after_so_many_tasks():
    with ergon.Pool(place(1), max_tasks=5) as pool:
        pids = [pool.pipe(os.getpid) for _ in range(30)]
    assert len(set(pids)) == 6 and max(pids.count(pid) for pid in pids) == 5


def stubborn():
    """Goes on with its work when interrupted, for three seconds in all."""
    end = time.monotonic() + 3
    try:
        time.sleep(30)
    finally:
        while time.monotonic() < end:
            with contextlib.suppress(BaseException):
                time.sleep(max(0, end - time.monotonic()))


@pytest.mark.parametrize("grace", [0.2, 20.0])
def test_workers_there_have_the_pools_grace(grace):
    with ergon.Pool(place(1), grace=grace) as pool:
        pid = pool.pipe(os.getpid)
        with pytest.raises(ergon.errors.TaskTimeout):
            pool.options(timeout=0.1).pipe(stubborn)
        same = pool.pipe(os.getpid) == pid
        assert same == (grace > 3)


def test_workers_there_may_be_stopped_as_long_as_here():
    with ergon.Pool(place(1), stop_limit=0.5) as pool:
        pid = pool.pipe(os.getpid)
        call = pool.apipe(time.sleep, 1000)
        wait_until(lambda: host(pool)["leased"] == 1)
        time.sleep(0.2)
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(WorkerLost, match="stopped"):
            call.result(20)
        assert pool.pipe(abs, -1) == 1
