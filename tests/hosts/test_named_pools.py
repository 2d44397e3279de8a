"""RemotePool, require=, and what is said when hosts do not come up."""

import json
import os
import pathlib
import sys

import ergon
import pytest
from ergon.errors import ConfigError, LaunchError

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
