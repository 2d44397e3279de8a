"""Pools on several hosts whose links are cut, whose keys change, who are not there; passwords; the configuration file."""

import json
import os
import time

import ergon
import pytest
from ergon.errors import LaunchError, WorkerLost

pytestmark = pytest.mark.slow


def where(_=None):
    time.sleep(0.01)
    return os.uname().nodename


def states(pool):
    return {host["name"]: host["state"] for host in pool.stats["hosts"]}


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_one_pool_of_all(hosts):
    with ergon.Pool("local:1", "ssh://h1?slots=2", "ssh://h2?slots=1", "threads:1", require="all") as pool:
        assert pool.nodes == 5
        names = pool.map(where, range(200), chunksize=1)
        assert set(names) == {"h1", "h2", os.uname().nodename}
        assert set(pool.map(where, range(10), resources={"host": "h1"})) == {"h1"}
        squares = [pool.submit(pow, i, 2) for i in range(50)]
        assert pool.submit(lambda *found: sum(found), *squares).result() == sum(i * i for i in range(50))


def test_remote_pools_and_schedule(hosts):
    @ergon.functional
    def square(x):
        return x * x, os.uname().nodename

    @ergon.schedule
    def program(n):
        return [square(i) for i in range(n)]

    ergon.configure(workers=[{"type": "ssh", "hostname": "h1", "cores": 1}, "ssh://h2?slots=1"])
    try:
        found = program(40)
    finally:
        ergon.configure()
    assert [value for value, _ in found] == [i * i for i in range(40)]
    with ergon.RemotePool("h1:1", "h2:1", "h3:1", require="all") as pool:
        assert set(pool.map(where, range(90), chunksize=1)) == {"h1", "h2", "h3"}


def test_a_password(hosts, tmp_path, monkeypatch):
    import sshd

    entry = {"type": "ssh", "hostname": "h1-pw", "password": sshd.PASSWORD, "cores": 1, "tmp_dir": "/tmp"}
    path = tmp_path / "ergon.conf"
    path.write_text(json.dumps({"workers": [entry]}))
    path.chmod(0o600)
    monkeypatch.setenv("ERGON_CONF", str(path))
    with ergon.Pool() as pool:
        assert pool.pipe(os.getuid) == 64000
        for pid in filter(str.isdigit, os.listdir("/proc")):
            for what in ("cmdline", "environ"):
                try:
                    with open(f"/proc/{pid}/{what}", "rb") as file:
                        assert sshd.PASSWORD.encode() not in file.read()
                except OSError:
                    pass
    with ergon.Pool({**entry, "password": "wrong"}) as pool:
        with pytest.raises(LaunchError, match="h1-pw: .*Permission denied"):
            pool.pipe(abs, 1)


def test_pydrons_keys(make_hosts, tmp_path, monkeypatch):
    """Each key of an entry does what it says on hosts that have no Ergon, and a file others can read is warned of."""
    import sshd

    first, second = make_hosts(2, with_ergon=False)
    folders = [str(tmp_path / name) for name in ("first", "second")]
    for folder in folders:
        os.mkdir(folder)
        os.chmod(folder, 0o1777)
    sshd.open_traversal(tmp_path)
    by_key = {"hostname": first.name, "username": sshd.GUEST, "data_ports": [30000, 30010]}
    by_password = {"hostname": f"{second.name}-pw", "password": sshd.PASSWORD, "data_ports": "30000-30010"}
    entries = [
        {"type": "ssh", "cores": cores, "tmp_dir": folder, **more}
        for cores, folder, more in zip((2, 1), folders, (by_key, by_password), strict=True)
    ]
    path = tmp_path / "pydron.conf"
    path.write_text(json.dumps({"workers": entries}))
    path.chmod(0o644)
    monkeypatch.setenv("PYDRON_CONF", str(path))

    def who(_):
        time.sleep(0.01)
        return os.uname().nodename, os.getuid(), os.getpid()

    with pytest.warns(UserWarning, match="holds a secret .'password'. and is open to other users: chmod 600"):
        pool = ergon.Pool(require="all")
    with pool:
        assert pool.nodes == 3
        found = set(pool.map(who, range(60), chunksize=1))
        assert {(name, uid) for name, uid, _ in found} == {(first.name, 64000), (second.name, 64000)}
        assert [sum(name == host.name for name, _, _ in found) for host in (first, second)] == [2, 1]
    for folder in folders:  # what was sent there lies in tmp_dir
        assert os.listdir(folder) == ["ergon-64000"] and os.stat(f"{folder}/ergon-64000").st_uid == 64000
        assert os.listdir(f"{folder}/ergon-64000/seeds")


def test_each_that_fails_is_named(hosts):
    hosts["h2"].crash()
    hosts["h3"].crash()
    hosts["h3"].change_key()
    hosts["h3"].boot()
    try:
        with ergon.RemotePool("h1:1", "h2:1", "h3:1", "nowhere.example.invalid") as pool:
            assert pool.map(where, range(5)) == ["h1"] * 5
            until(lambda: list(states(pool).values()).count("failed") == 3)
        with pytest.raises(LaunchError) as caught:
            ergon.RemotePool("h2", "ssh://h3?slots=1", "nowhere.example.invalid", require="all")
        words = str(caught.value)
        assert "h2: " in words and "ssh://h3?slots=1: " in words and "nowhere.example.invalid: " in words
        assert "Host key verification failed" in words and "resolve" in words
    finally:
        hosts["h3"].crash()
        hosts["h3"].host_key = "host_ed25519"
        hosts["h3"].boot()
        hosts["h2"].boot()


def test_a_host_that_crashes(hosts):
    with ergon.RemotePool("h1:1", "h2:1", require="all") as pool:
        future = pool.submit(time.sleep, 1000, resources={"host": "h2"})
        retried = pool.submit(where, resources={"host": ["h1", "h2"]}, retries=3)
        until(lambda: pool.stats["hosts"][1]["leased"] > 0)
        for process in hosts["h2"].processes():
            hosts["h2"].kill(process.pid)
        with pytest.raises(WorkerLost, match="h2"):
            future.result(60)
        assert retried.result(60) in ("h1", "h2")
        assert pool.map(where, range(5)) == ["h1"] * 5
