"""ppft with servers on the network."""

import contextlib
import io
import os
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest

ppft = _link = parse_config = None  # what the fixture imports
pytestmark = pytest.mark.usefixtures("alias_modules", "own_key")


@pytest.fixture(scope="module")
def alias_modules(alias_path):
    """The packages, as names of this module."""
    import ppft
    from ppft import _link
    from ppft.server import parse_config

    names = {"ppft": ppft, "_link": _link, "parse_config": parse_config}
    globals().update(names)
    yield


@pytest.fixture
def own_key(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr("ppft._node.RemoteNode.RETRY", 0.1)


@pytest.fixture
def serve(tmp_path):
    """Starts servers: (process, "host:port")."""
    started = []

    def start(*options, port=0, **keywords):
        command = [sys.executable, "-m", "ppft.server", "-p", str(port), "-w", "2", *options]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=open(tmp_path / "log", "ab"), text=True, **keywords
        )
        started.append(process)
        port = port or int(process.stdout.readline())
        return process, f"127.0.0.1:{port}"

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
        assert process.wait(20) is not None
        process.stdout.close()


@contextlib.contextmanager
def client(*arguments, **keywords):
    server = ppft.Server(*arguments, **keywords)
    try:
        yield server
    finally:
        server.destroy()


def square(x):
    return x * x


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_jobs_run_on_the_server(serve):
    process, name = serve()
    with client(0, ppservers=(name,)) as server:
        assert server.get_active_nodes() == {"local": 0, name: 2}
        jobs = [server.submit(square, (i,)) for i in range(50)]
        assert [job() for job in jobs] == [i * i for i in range(50)]
        assert server.get_stats()[name].njobs == 50 and server.get_stats()["local"].njobs == 0
        pid = server.submit(os.getpid, ())()
        assert pid not in (os.getpid(), process.pid)


def test_here_and_there_and_callbacks(serve):
    _, name = serve()
    found = []
    with client(1, ppservers=(name,)) as server:
        for i in range(40):
            server.submit(time.sleep, (0.01,), group="sleep", callback=lambda *a: found.append(a), callbackargs=(i,))
        server.wait("sleep")
        until(lambda: len(found) == 40)
        stats = server.get_stats()
        assert stats["local"].njobs > 0 and stats[name].njobs > 0
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            server.print_stats()
        assert name in out.getvalue() and "local" in out.getvalue()


def test_what_fails_there(serve, capsys):
    _, name = serve()
    with client(0, ppservers=(name,)) as server:
        assert server.submit(lambda: 1 / 0)() is None
        assert "ZeroDivisionError" in capsys.readouterr().out
        with pytest.raises(Exception, match="WorkerLost|lost|died|exit"):
            server.submit(os._exit, (3,))()
        assert server.submit(square, (3,))() == 9


def test_pools_of_pathos(serve):
    from pathos.pools import ParallelPool

    _, name = serve()
    pool = ParallelPool(0, servers=(name,))
    try:
        assert pool.map(lambda x, y: x + y, range(100), range(100)) == [2 * i for i in range(100)]
        assert list(pool.imap(square, range(5))) == [0, 1, 4, 9, 16]
        assert sorted(pool.uimap(square, range(5))) == [0, 1, 4, 9, 16]
        assert pool.amap(square, [3]).get(10) == [9] and pool.amap(square, []).get() == []
        assert pool.pipe(pow, 2, 5) == 32 and pool.apipe(pow, 2, exp=6).get() == 64
        with pytest.raises(ZeroDivisionError):
            pool.map(lambda x: 1 / x, [1, 0])
    finally:
        pool.clear()


def test_a_lost_server_hands_its_jobs_on(serve, tmp_path):
    process, name = serve()
    _, other = serve()
    with client(0, ppservers=(name, other)) as server:
        jobs = [server.submit(time.sleep, (0.05,)) for _ in range(30)]
        until(lambda: server.get_stats()[name].njobs > 0)
        process.kill()
        for job in jobs:
            job.wait()
            assert job.finished
        assert sum(stat.njobs for stat in server.get_stats().values()) == 30
        until(lambda: name not in server.get_active_nodes())
        _, again = serve(port=int(name.rpartition(":")[2]))
        until(lambda: name in server.get_active_nodes())


def test_a_server_that_is_not_there():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.warns(UserWarning, match=f"127.0.0.1:{port}.*trying again"):
        server = ppft.Server(0, ppservers=(f"127.0.0.1:{port}",))
    try:
        with pytest.raises(ValueError, match="no workers.*refused"):
            server.submit(square, (1,))
    finally:
        server.destroy()


@pytest.mark.filterwarnings("ignore:ppserver")
def test_the_secret_counts(serve, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("one word\n")
    secret.chmod(0o600)
    _, name = serve("-S", str(secret))
    with client(0, ppservers=(name,), secret="one word") as server:
        assert server.submit(square, (4,))() == 16
    for other in (None, "another word"):
        with client(1, ppservers=(name,), secret=other) as server:
            assert server.get_active_nodes() == {"local": 1}
    with pytest.raises(TypeError):
        ppft.Server(1, secret=b"bytes")


def test_whoever_does_not_know_it_gets_nothing_run(serve, tmp_path):
    """Bytes from strangers are not unpickled."""
    _, name = serve()
    mark = tmp_path / "mark"
    bomb = b"cos\nsystem\n(S'touch %s'\ntR." % str(mark).encode()
    host, port = name.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as end:
        with contextlib.suppress(OSError):
            for _ in range(3):
                end.sendall(len(bomb).to_bytes(4, "big") + bomb)
            while end.recv(4096):
                pass
    assert not mark.exists()


def test_it_listens_on_loopback_alone(serve):
    process, name = serve()
    port = int(name.rpartition(":")[2])
    with open("/proc/net/tcp") as table:
        bound = [line.split()[1] for line in table if f":{port:04X} " in line and line.split()[3] == "0A"]
    assert bound == [f"0100007F:{port:04X}"]


def test_the_users_own_key(tmp_path):
    first = _link.key()
    path = tmp_path / "config" / "ergon" / "ppft.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and _link.key() == first
    assert _link.key("x") != first
    path.chmod(0o644)
    with pytest.raises(PermissionError, match="chmod 600"):
        _link.key()


def test_the_servers_options(serve, tmp_path):
    pid_file = tmp_path / "pid"
    process, name = serve("-P", str(pid_file), "-t", "1")
    assert int(pid_file.read_text()) == process.pid
    os.kill(process.pid, signal.SIGUSR1)
    assert "statistics" in process.stdout.readline()
    with client(0, ppservers=(name,)) as server:
        time.sleep(1.2)
        assert server.submit(square, (2,))() == 4
    assert process.wait(20) == 0 and not pid_file.exists()


def test_a_configuration_file(tmp_path):
    path = tmp_path / "config.ini"
    path.write_text("[general]\nsecret = 'word'\nworkers = 3\ndebug = true\n[network]\nport = 7\nautodiscovery = yes\n")
    path.chmod(0o600)
    assert parse_config(str(path)) == ({"secret": "word", "ncpus": 3, "port": 7}, True, True)
    path.chmod(0o644)
    with pytest.warns(UserWarning, match="chmod 600"):
        parse_config(str(path))
    path.write_text("[network]\nport = x\n")
    with pytest.raises(SystemExit, match="port"):
        parse_config(str(path))


def test_servers_make_themselves_known(serve):
    """Both on loopback: client and server listen for each other's messages on one port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serve("-a", "-b", "127.255.255.255", port=port)
    with client(0, ppservers=(f"127.*.*.*:{port}",)) as server:
        until(lambda: len(server.get_active_nodes()) > 1)
        assert server.submit(square, (5,))() == 25


def test_templates_and_names(serve):
    import pp

    assert pp.common.b_("a") == b"a" and pp.Server is ppft.Server and ppft.common.str_(b"a") == "a"
    with client(1) as server:
        fn = ppft.Template(server, square, (), ("math",))
        assert [fn.submit(i)() for i in range(3)] == [0, 1, 4]
    assert ppft.common.get_class_hierarchy(bool) == [int, bool]
