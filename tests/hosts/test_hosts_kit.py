"""The ssh server and the hosts that other tests use do what they say."""

import os
import subprocess
import time

import netns
import pytest

pytestmark = pytest.mark.slow


def ssh(config, name, *command, **options):
    words = ["ssh", "-F", str(config), name, *command]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, **options)


def test_a_server_on_loopback(sshd):
    for name in sshd.hosts:
        assert ssh(sshd.config, name, "echo", "hello").stdout == "hello\n"
    assert os.environ["ERGON_SSH_CONFIG"] == str(sshd.config)


def test_the_servers_python_is_this_trees(sshd):
    assert ssh(sshd.config, "node", "python3 -c 'import ergon; print(ergon.__file__)'").stdout.startswith(
        netns.HERE.parent.parent.as_posix()
    )


def test_a_user_with_a_password(sshd, tmp_path):
    if not sshd.root:
        pytest.skip("a user with a password needs root")
    ask = tmp_path / "ask"
    ask.write_text('#!/bin/sh\necho "$WORD"\n')
    ask.chmod(0o700)
    environment = dict(os.environ, SSH_ASKPASS=str(ask), SSH_ASKPASS_REQUIRE="force", WORD=sshd.password)
    assert ssh(sshd.config, "node-pw", "whoami", env=environment).stdout == "guest\n"
    refused = ssh(sshd.config, "node-pw", "whoami", env=dict(environment, WORD="wrong"))
    assert refused.returncode == 255 and "Permission denied" in refused.stderr


def test_cutting_the_servers_connections(sshd):
    session = subprocess.Popen(
        ["ssh", "-F", str(sshd.config), "node", "echo up; sleep 60"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert session.stdout.readline() == b"up\n"
    sshd.cut()
    assert session.wait(timeout=20) == 255
    session.stdout.close()
    session.stderr.close()
    assert ssh(sshd.config, "node", "true").returncode == 0


def test_hosts_are_apart(hosts):
    said = {host.name: ssh(hosts.config, host.name, "hostname; echo $HOME $TMPDIR").stdout.split() for host in hosts}
    assert [words[0] for words in said.values()] == ["h1", "h2", "h3"]
    assert len({words[1] for words in said.values()}) == len({words[2] for words in said.values()}) == 3


def test_hosts_reach_each_other(hosts):
    h1, h2 = hosts["h1"], hosts["h2"]
    done = ssh(hosts.config, "h1", f"bash -c 'exec 3<>/dev/tcp/{h2.address}/22; head -c 7 <&3'")
    assert done.stdout == "SSH-2.0", done.stderr
    assert h1.address != h2.address


def test_a_cut_link_heals(hosts):
    session = subprocess.Popen(
        ["ssh", "-F", str(hosts.config), "h1", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    session.stdin.write(b"before\n")
    assert session.stdout.readline() == b"before\n"
    hosts["h1"].cut()
    assert ssh(hosts.config, "h1", "-o", "ConnectTimeout=1", "true").returncode == 255
    session.stdin.write(b"during\n")
    hosts["h1"].heal()
    assert session.stdout.readline() == b"during\n"
    session.stdin.close()
    assert session.wait(timeout=20) == 0
    session.stdout.close()


def test_a_host_crashes_and_boots(hosts):
    hosts["h3"].crash()
    assert ssh(hosts.config, "h3", "-o", "ConnectTimeout=1", "true").returncode == 255
    hosts["h3"].boot()
    assert ssh(hosts.config, "h3", "hostname").stdout == "h3\n"


def test_a_host_with_another_key(hosts):
    h3 = hosts["h3"]
    h3.crash()
    h3.change_key()
    h3.boot()
    refused = ssh(hosts.config, "h3", "true")
    assert refused.returncode == 255 and "Host key verification failed" in refused.stderr
    h3.crash()
    h3.host_key = "host_ed25519"
    h3.boot()
    assert ssh(hosts.config, "h3", "true").returncode == 0


def test_what_runs_on_a_host_is_seen(hosts):
    assert not hosts.left_over(patience=0)
    ssh(hosts.config, "h2", "setsid sleep 77 >/dev/null 2>&1 </dev/null &")
    (left,) = hosts["h2"].processes()
    assert left.name == "sleep"
    assert "h2: " in hosts.left_over(patience=0)[0]
    hosts["h2"].kill(left.pid)
    assert not hosts.left_over()


def test_links_can_be_slowed(make_hosts):
    hosts = make_hosts(1, shaped=True)

    def trip():
        start = time.perf_counter()
        assert ssh(hosts.config, "h1", "true").returncode == 0
        return time.perf_counter() - start

    fast = min(trip() for _ in range(2))
    hosts["h1"].shape(delay_us=100_000)
    assert min(trip() for _ in range(2)) > fast + 0.4  # connecting takes several round trips


def test_hosts_without_ergon(make_hosts):
    hosts = make_hosts(1, with_ergon=False)
    done = ssh(hosts.config, "h1", "python3 -c 'import ergon'")
    assert done.returncode == 1 and "No module named 'ergon'" in done.stderr


def test_what_is_hidden_cannot_be_used(make_hosts, tmp_path):
    library = tmp_path / "some.so"
    library.write_text("something")
    hosts = make_hosts(1, hide=[str(library)])
    assert ssh(hosts.config, "h1", f"cat {library}").stdout == ""
    assert library.read_text() == "something"


def test_bridges_of_killed_runs_are_taken_away():
    if why := netns.missing():
        pytest.skip(why)
    mine = [netns.take_bridge(), netns.take_bridge()]
    try:
        assert mine[0] != mine[1]
        netns.ip("link", "set", f"ergt{mine[0]}", "alias", "4194303-1")  # nobody
        assert netns.take_bridge() == mine[0]
    finally:
        for k in mine:
            netns.ip("link", "del", f"ergt{k}", check=False)
