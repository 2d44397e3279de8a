"""RemotePool, require=, and what is said when hosts do not come up."""

import json
import os
import pathlib
import sys
import time

import ergon
import pytest
from ergon import trace
from ergon.errors import ConfigError, LaunchError, WorkerLost

HERE = str(pathlib.Path(ergon.__file__).resolve().parent.parent)
AGENT = f"exec:env PYTHONPATH={HERE} {sys.executable} -m ergon._agent"
BROKEN = "exec:echo 'no such thing' >&2; exit 3"


def test_a_remote_pool():
    with ergon.RemotePool(f"{AGENT}?slots=2", f"{AGENT}?slots=1", require="all") as pool:
        assert pool.nodes == 3 and repr(pool) == "<ergon.RemotePool open, 0 processes, 0 threads, 2 hosts>"
        assert pool.map(abs, range(-20, 0)) == list(range(20, 0, -1))
        assert {host["state"] for host in pool.stats["hosts"]} == {"up"}


def test_what_a_remote_pool_takes():
    with pytest.raises(TypeError, match="names of hosts"):
        ergon.RemotePool()
    with pytest.raises(ConfigError, match="number of workers"):
        ergon.RemotePool("a:x")
    with pytest.raises(TypeError):
        ergon.RemotePool(3)


def test_all_are_waited_for():
    with ergon.Pool("local:1", "threads:1", f"{AGENT}?slots=2", require="all") as pool:
        assert pool.nodes == 4
        assert len(pool.stats["workers"]) >= 2
    with pytest.raises(ValueError, match="'first' or 'all'"):
        ergon.Pool("local:1", require="some")


def test_the_one_that_does_not_come_is_named():
    with pytest.raises(LaunchError, match="echo 'no such thing'.*: no such thing") as caught:
        ergon.Pool("local:1", f"{AGENT}?slots=1", BROKEN, require="all")
    assert AGENT not in str(caught.value)


def test_the_rest_goes_on():
    with ergon.Pool("local:1", BROKEN) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]


def test_none_comes_up():
    other = BROKEN.replace("no such", "not that")
    with ergon.Pool(BROKEN, other) as pool:
        with pytest.raises(LaunchError) as caught:
            pool.map(abs, [1])
        assert "no such thing" in str(caught.value) and "not that thing" in str(caught.value)


def test_pools_of_the_configuration_file(tmp_path, monkeypatch):
    path = tmp_path / "ergon.conf"
    path.write_text(json.dumps({"workers": ["local:1", f"{AGENT}?slots=1"]}))
    monkeypatch.setenv("ERGON_CONF", str(path))
    with ergon.Pool(require="all") as pool:
        assert pool.nodes == 2
        assert len(set(pool.map(lambda _: os.getppid(), range(40), chunksize=1))) <= 2


def long_enough(x):
    time.sleep(0.002)
    return bytes(1000)


def test_the_trace_shows_hosts_and_transfers(tmp_path):
    path = tmp_path / "trace.json"
    with trace.record(path), ergon.Pool("local:1", f"{AGENT}?slots=2", require="all") as pool:
        assert len(pool.map(long_enough, range(200))) == 200
        assert len(pool.submit(long_enough, 1, resources={"host": f"{AGENT}?slots=2"}).result()) == 1000
        tasks = [event for event in trace.events() if event.function == "long_enough"]
    there = [event for event in tasks if event.worker_name == f"host {AGENT}?slots=2"]
    assert sum(event.items for event in tasks) == 201 and 0 < len(there) < len(tasks) + 1
    for event in there:
        assert event.outcome == "ok" and event.bytes_out >= 1000 * event.items
        assert event.end_ns - event.start_ns >= 0.002e9 * event.items
    page = trace.report(path)
    assert "host exec:" in pathlib.Path(page).read_text()


def test_a_lost_host_in_the_trace():
    with trace.record(), ergon.Pool(f"{AGENT}?slots=1") as pool:
        future = pool.submit(time.sleep, 1000)
        while not (pid := pool.stats["hosts"][0]["pid"]):
            time.sleep(0.01)
        while not pool.stats["hosts"][0]["leased"]:
            time.sleep(0.01)
        os.kill(pid, 9)
        with pytest.raises(WorkerLost, match="exec:"):
            future.result(30)
        (event,) = [event for event in trace.events() if event.function == "sleep"]
    assert event.outcome == "lost" and event.worker_name.startswith("host exec:")
