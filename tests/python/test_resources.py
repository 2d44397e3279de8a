"""Resources: strings, entries of the configuration file, hosts as RemotePool takes them."""

import json
import os
import pickle
import warnings

import ergon
import pytest
from ergon import _resources, config
from ergon.errors import ConfigError


def one(resource):
    (place,) = _resources.split([resource], lambda: 3)[2]
    return place


def test_mixed():
    processes, threads, places = _resources.split(
        ["local:2", "local", "threads:4", "serial", "ssh://a", "tcp://b:7"], lambda: 3
    )
    assert (processes, threads) == (5, 5)
    assert [(p.kind, p.host, p.port, p.slots) for p in places] == [("ssh", "a", 0, 0), ("tcp", "b", 7, 0)]
    assert places[0].name == "ssh://a"


def test_every_option():
    place = one(
        "ssh://me@far:2222?slots=8&python=/opt/py&tmp_dir=/scratch&data_ports=30000-30010&tags=gpu,big&modules=ship"
    )
    assert (place.user, place.host, place.port, place.slots) == ("me", "far", 2222, 8)
    assert (place.python, place.tmp_dir, place.data_ports) == ("/opt/py", "/scratch", (30000, 30010))
    assert place.tags == ("gpu", "big") and place.modules == "ship" and not place.threads


@pytest.mark.parametrize(
    "text, slots, user, port",
    [
        ("a", 0, None, 0),
        ("a:8", 8, None, 0),
        ("me@a:8", 8, "me", 0),
        ("ssh://a:8", 0, None, 8),
        ("ssh://a:8?slots=2", 2, None, 8),
        ("a?tags=x", 0, None, 0),
    ],
)
def test_hosts_as_remote_pools_take_them(text, slots, user, port):
    place = _resources.remote(text)
    assert (place.name, place.host, place.slots, place.user, place.port) == (text, "a", slots, user, port)


@pytest.mark.parametrize(
    "text",
    [
        "a:x",
        "a:0",
        "a:1001",
        "",
        ":4",
        "a b",
        "-oX=1",
        "ssh://a?data_ports=x",
        "ssh://a?data_ports=5-1",
        "ssh://a?data_ports=1-2-3",
        "a?tmp_dir=",
        "ssh://a?threads=2",
        "ssh://a?modules=all",
    ],
)
def test_what_is_no_host(text):
    with pytest.raises(ConfigError):
        _resources.remote(text)


def test_the_ssh_configuration(monkeypatch, tmp_path):
    monkeypatch.delenv("ERGON_SSH_CONFIG", raising=False)
    assert one("ssh://a").config is None
    monkeypatch.setenv("ERGON_SSH_CONFIG", "/from/environment")
    assert one("ssh://a").config == "/from/environment"
    file = tmp_path / "config"
    with pytest.raises(ConfigError, match="no file"):
        ergon.configure(ssh_config=file)
    file.write_text("")
    try:
        ergon.configure(ssh_config=file)
        assert one("ssh://a").config == str(file)
        assert one("ssh://a?config=/mine").config == "/mine"
    finally:
        ergon.configure()
    assert one("ssh://a").config == "/from/environment"


def entry(**keys):
    return config.resources([{"type": "ssh", "hostname": "a.example.org", **keys}])[0]


def test_entries_with_pydrons_keys():
    place = entry(username="foo", password="bar", tmp_dir="/tmp", data_ports=[1000, 2000], cores=3)
    assert (place.host, place.user, place.password, place.slots) == ("a.example.org", "foo", "bar", 3)
    assert place.data_ports == (1000, 2000) and place.tmp_dir == "/tmp" and place.name == "a.example.org"
    assert entry().slots == 0 and entry().user is None and entry(data_ports="1000-2000").data_ports == (1000, 2000)
    assert one({"type": "ssh", "hostname": "a"}).host == "a"


def test_a_password_stays_where_it_is():
    place = entry(password="secret-word")
    assert "secret-word" not in repr(place) + str(place)
    for dumps in (pickle.dumps, ergon.dumps):
        with pytest.raises(Exception, match="password"):
            dumps(place)
    assert pickle.loads(pickle.dumps(entry(cores=2))).slots == 2


@pytest.mark.parametrize(
    "keys",
    [
        {"hostname": 5},
        {"hostname": ""},
        {"cores": 0},
        {"data_ports": "x"},
        {"port": "22"},
        {"modules": 1},
        {"hostname": "u:p@h"},
    ],
)
def test_wrong_entries_are_named(keys):
    with pytest.raises(ConfigError):
        entry(**keys)


def test_a_wrong_string_is_named():
    with pytest.raises(ConfigError, match=r"workers\[1\].*no resource"):
        config.resources(["local", "lokal"])


def test_an_unknown_key_is_pointed_out():
    with pytest.warns(UserWarning, match="'user' is ignored; known are .*username"):
        entry(user="me")


@pytest.mark.parametrize("mode, words", [(0o644, "other users"), (0o640, "its group"), (0o600, None)])
def test_a_file_with_a_password_that_others_can_read(tmp_path, monkeypatch, mode, words):
    path = tmp_path / "ergon.conf"
    path.write_text(json.dumps({"workers": [{"type": "ssh", "hostname": "a", "password": "p"}]}))
    path.chmod(mode)
    monkeypatch.setenv("ERGON_CONF", str(path))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        config.workers()
    assert [str(w.message).split(": chmod")[0] for w in caught] == (
        [f"{path} holds a secret ('password') and is open to {words}"] if words else []
    )


def test_a_pool_without_resources_takes_the_files(tmp_path, monkeypatch):
    path = tmp_path / "ergon.conf"
    path.write_text('{"workers": [{"type": "threads", "cores": 2},]}')
    monkeypatch.setenv("ERGON_CONF", str(path))
    with ergon.Pool() as pool:
        assert (pool.processes, pool.threads) == (0, 2)
    monkeypatch.delenv("ERGON_CONF")
    monkeypatch.chdir(tmp_path)
    os.unlink(path)
    with ergon.Pool() as pool:
        assert pool.processes > 0
