"""Pools on hosts that OpenSSH reaches, and on servers: what works, what is said when it does not, what survives."""

import os
import re
import select
import signal
import subprocess
import sys
import time
import uuid

import ergon
import pytest
from ergon.errors import LaunchError, WorkerLost
from trouble import note, where

pytestmark = pytest.mark.slow

COMMAND = os.path.join(os.path.dirname(sys.executable), "ergon")


def slowly(item):
    time.sleep(0.02)
    return item, os.uname().nodename


def test_a_map_through_ssh(sshd):
    with ergon.Pool("ssh://node?slots=2") as pool:
        assert pool.map(abs, range(-500, 0)) == list(range(500, 0, -1))
        assert pool.pipe(os.getpid) != os.getpid()


def test_what_tasks_print_is_seen(sshd, capfd):
    with ergon.Pool("ssh://node?slots=1") as pool:
        pool.pipe(print, "printed over there")
        deadline = time.monotonic() + 10
        seen = ""
        while "printed over there" not in seen and time.monotonic() < deadline:
            seen += capfd.readouterr().out
            time.sleep(0.02)
    assert "printed over there\n" in seen


def test_hosts_without_ergon_and_this_one(make_hosts):
    hosts = make_hosts(3, with_ergon=False)
    python = os.path.realpath(sys.executable)
    names = [host.name for host in hosts]
    with ergon.Pool("local:1", *(f"ssh://{name}?slots=2&python={python}" for name in names)) as pool:
        seen = set()
        deadline = time.monotonic() + 30
        while len(seen) < 4 and time.monotonic() < deadline:
            result = pool.map(slowly, range(100))
            assert [item for item, _ in result] == list(range(100))
            seen |= {name for _, name in result}
        assert seen == {*names, os.uname().nodename}


def test_connections_that_break_lose_nothing(hosts):
    path = f"/tmp/{uuid.uuid4()}"
    with ergon.Pool("ssh://h1?slots=2") as pool:
        future = pool.amap(note, [path] * 600, range(600), chunksize=3)
        for _ in range(3):
            time.sleep(0.4)
            hosts["h1"].disconnect()
        assert future.result(60) == [item * item for item in range(600)]
    ran = sorted(map(int, hosts["h1"].exec("cat", path).split()))
    assert ran == list(range(600))  # each once


def test_a_link_that_is_cut_for_seconds_loses_nothing(hosts):
    path = f"/tmp/{uuid.uuid4()}"
    with ergon.Pool("ssh://h2?slots=2") as pool:
        future = pool.amap(note, [path] * 300, range(300), chunksize=1)
        time.sleep(0.3)
        hosts["h2"].cut()
        time.sleep(2)
        hosts["h2"].heal()
        assert future.result(60) == [item * item for item in range(300)]
    assert sorted(map(int, hosts["h2"].exec("cat", path).split())) == list(range(300))


def test_modules_travel_where_they_are_missing(make_hosts, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("from . import inner\nfrom helper_of_mine import twice\n")
    (tmp_path / "mine" / "inner.py").write_text("def fail():\n    raise ValueError('here')  # this line\n")
    (tmp_path / "helper_of_mine.py").write_text("def twice(x):\n    return 2 * x\n")
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, traceback, ergon\n"
        "pool = ergon.Pool(sys.argv[1])\n"
        "import mine\n"
        "try:\n"
        "    print(pool.map(mine.twice, range(5)))\n"
        "    pool.pipe(mine.inner.fail)\n"
        "except Exception:\n"
        "    traceback.print_exc(file=sys.stdout)\n"
        "pool.terminate()\n"
    )
    hosts = make_hosts(1, hide=[str(tmp_path)])
    name = next(iter(hosts)).name

    def run(resource):
        done = subprocess.run([sys.executable, program, resource], capture_output=True, text=True, timeout=60, cwd="/")
        return done.stdout

    assert "ModuleNotFoundError" in run(f"ssh://{name}?slots=1")
    shipped = run(f"ssh://{name}?slots=1&modules=ship")
    assert shipped.startswith("[0, 2, 4, 6, 8]\n")
    assert "ValueError: here" in shipped and "# this line" in shipped  # the source is there for tracebacks as well


def test_slow_links_are_packed(make_hosts):
    hosts = make_hosts(1, shaped=True)
    host = next(iter(hosts))
    host.shape(delay_us=2000, rate_kbit=30_000)
    random, plain = os.urandom(4_000_000), bytes(4_000_000)
    with ergon.Pool(f"ssh://{host.name}?slots=1") as pool:
        pool.pipe(len, random)  # by now it is known to be slow

        def took(data):
            start = time.monotonic()
            assert pool.pipe(len, data) == len(data)
            return time.monotonic() - start

        assert took(plain) * 2 < took(random)


def test_those_that_come_up_are_used(hosts):
    hosts["h3"].crash()
    try:
        with ergon.Pool("ssh://h3?slots=1", "ssh://h1?slots=1") as pool:
            assert set(pool.map(where, range(20))) == {"h1"}
        with pytest.raises(LaunchError, match="ssh://h3\\?slots=1: .*(No route to host|timed out|no answer)"):
            with ergon.Pool("ssh://h3?slots=1") as pool:
                pool.pipe(where)
    finally:
        hosts["h3"].boot()


def test_a_changed_host_key_is_said(make_hosts):
    hosts = make_hosts(1)
    host = next(iter(hosts))
    host.crash()
    host.change_key()
    host.boot()
    with pytest.raises(LaunchError, match=f"ssh://{host.name}: .*Host key verification failed"):
        with ergon.Pool(f"ssh://{host.name}") as pool:
            pool.pipe(where)


def test_no_key_and_no_password(sshd):
    if not sshd.root:
        pytest.skip("a user with a password needs root")
    with pytest.raises(LaunchError, match="ssh://node-pw: .*Permission denied"):
        with ergon.Pool("ssh://node-pw") as pool:
            pool.pipe(where)


@pytest.fixture
def with_password(sshd, monkeypatch):
    if not sshd.root:
        pytest.skip("a user with a password needs root")

    def configure(password):
        ergon.configure(workers=[{"type": "ssh", "hostname": "node-pw", "password": password, "cores": 1}])

    yield configure
    ergon.configure()


def test_a_wrong_password(with_password):
    with_password("wrong")
    with pytest.raises(LaunchError, match="Permission denied"):
        with ergon.Pool() as pool:
            pool.pipe(where)


def test_a_password(with_password, sshd, tmp_path):
    """It is nowhere to be seen while ssh runs: ssh waits for a proxy that shows what runs."""
    show = tmp_path / "show"
    seen = tmp_path / "seen"
    show.write_text(
        f"#!/bin/sh\nfor p in /proc/[0-9]*; do tr '\\0' '\\n' <$p/cmdline; tr '\\0' '\\n' <$p/environ; "
        f"done >{seen} 2>/dev/null\nexec {sys.executable} -c '{PROXY}' 127.0.0.1 {sshd.port}\n"
    )
    show.chmod(0o755)
    config = sshd.config.read_text()
    sshd.config.write_text(config.replace("Host node-pw\n", f"Host node-pw\n    ProxyCommand {show}\n"))
    with_password(sshd.password)
    try:
        with ergon.Pool() as pool:
            try:
                assert pool.pipe(os.getuid) == 64000
            except LaunchError as error:
                # the password was right; this tree may lie where another user cannot read it
                assert "Permission denied, please" not in str(error) and "(password)" not in str(error)
    finally:
        sshd.config.write_text(config)
    text = seen.read_text(errors="replace")
    assert "SSH_ASKPASS=" in text and sshd.password not in text


PROXY = (
    "import os,select,socket,sys;s=socket.create_connection((sys.argv[1],int(sys.argv[2])));f=s.fileno();"
    'exec("while 1:\\n for r in select.select([0,f],[],[])[0]:\\n  d=os.read(r,65536)\\n'
    '  d or os._exit(0)\\n  (s.sendall if r==0 else lambda b:os.write(1,b))(d)")'
)


# --- servers -------------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path):
    key = tmp_path / "key"
    assert subprocess.run([COMMAND, "server", "--new-key", key], check=False).returncode == 0
    process = subprocess.Popen([COMMAND, "server", "--key", key], stdout=subprocess.PIPE, text=True)
    assert select.select([process.stdout], [], [], 20)[0]
    address = process.stdout.readline().strip()
    yield f"{address}?slots=2&key={key}", process
    process.terminate()
    assert process.wait(30) == 0
    process.stdout.close()


def test_a_pool_on_a_server(server):
    address, _ = server
    with ergon.Pool(address) as one, ergon.Pool(address) as other:
        assert one.map(abs, range(-300, 0)) == list(range(300, 0, -1))
        assert other.map(abs, range(-300, 0)) == list(range(300, 0, -1))
        data = bytes(range(256)) * 40_000
        assert one.pipe(bytes.upper, data) == data.upper()


def test_a_server_with_another_key(server, tmp_path):
    address, _ = server
    key = tmp_path / "other"
    assert subprocess.run([COMMAND, "server", "--new-key", key], check=False).returncode == 0
    with pytest.raises(LaunchError, match="key"):
        with ergon.Pool(re.sub("key=.*", f"key={key}", address)) as pool:
            pool.pipe(where)


@pytest.mark.full
def test_a_server_that_ends(server):
    """It might have been started anew: the pool tries for as long as with any link that broke."""
    address, process = server
    with ergon.Pool(address) as pool:
        future = pool.apipe(time.sleep, 1000)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(WorkerLost, match="tcp://127.0.0.1.* was lost"):
            future.result(90)
