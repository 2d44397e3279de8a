"""A server on another host behind a tunnel: ergon.ssh.Server, ergon server --through."""

import os
import signal
import socket
import subprocess
import time

import ergon
import leaks
import pytest
from ergon import ssh
from ergon.errors import ErgonError, SshError
from ergon.trace import command

pytestmark = pytest.mark.slow


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def gone(pid):
    process = leaks.read_process(pid)
    return process is None or process.state == "Z"


def key_file(resource):
    return resource.partition("?key=")[2]


def test_a_server(sshd):
    with ssh.Server("node") as server:
        with ergon.Pool(server.resource) as pool, ergon.Pool(server.resource) as other:
            assert pool.map(abs, range(-5, 0)) == other.map(abs, range(-5, 0)) == [5, 4, 3, 2, 1]
        pid, key = server.pid, key_file(server.resource)
        assert os.stat(key).st_mode & 0o777 == 0o600 and server.status() is None
        assert [t["host"] for t in ssh.Tunnel.list()] == ["node"]
    assert not os.path.exists(key) and ssh.Tunnel.list() == []
    until(lambda: gone(pid))
    assert not list(sshd.tmp.glob("tmp.*"))


def test_nobody_else_can_use_it(sshd, tmp_path):
    with ssh.Server("node") as server:
        other = tmp_path / "key"
        other.write_text("ab" * 32 + "\n")
        other.chmod(0o600)
        wrong = f"{server.resource.partition('?')[0]}?key={other}"
        with pytest.raises(ErgonError, match="key"):
            ergon.Pool(wrong, require="all")


def test_the_command(sshd):
    with subprocess.Popen(
        [command(), "server", "--through", "node"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        resource = process.stdout.readline().strip()
        with ergon.Pool(resource) as pool:
            assert pool.pipe(pow, 2, 10) == 1024
        port = int(resource.partition("?")[0].rpartition(":")[2])
        process.stdin.close()
        assert process.wait(30) == 0
    assert not os.path.exists(key_file(resource))
    assert socket.socket().connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGKILL])
def test_the_command_is_killed(sshd, sig):
    before = set(os.listdir(os.environ["TMPDIR"]))
    with subprocess.Popen(
        [command(), "server", "--through", "node"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        resource = process.stdout.readline().strip()
        process.send_signal(sig)
        process.wait(30)
    until(lambda: not [p for p in sshd.sessions() if "sshd" not in p.name])
    until(lambda: ssh.Tunnel.list() == [])
    assert not list(sshd.tmp.glob("tmp.*"))
    assert not os.path.exists(key_file(resource))
    assert set(os.listdir(os.environ["TMPDIR"])) == before


def test_it_ends_when_idle(sshd):
    with subprocess.Popen(
        [command(), "server", "--through", "node", "--idle", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline().startswith("tcp://")
        assert process.wait(30) == 0


def test_what_fails_says_why(sshd, make_hosts):
    with pytest.raises(SshError, match="resolve"):
        ssh.Server("nowhere.example.invalid").start()
    done = subprocess.run(
        [command(), "server", "--through", "nowhere.example.invalid"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1 and "resolve" in done.stderr
    done = subprocess.run([command(), "server", "--through", "node", "--key", "x"], capture_output=True, text=True)
    assert done.returncode == 1 and "--through" in done.stderr


def test_a_host_without_ergon(make_hosts):
    make_hosts(1, with_ergon=False)
    with pytest.raises(ErgonError, match="h1: .*No module named"):
        ssh.Server("h1").start()
