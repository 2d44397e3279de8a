"""The modules of pathos for other hosts, and the commands of pathos and ppft."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import threading
import time
import xmlrpc.client

import leaks
import pytest
from ergon.aliases import folder

pytestmark = pytest.mark.slow
BIN = pathlib.Path(sys.executable).parent
pathos = None  # the package, while these tests run
NAMES = ("dill", "multiprocess", "pathos", "pp", "ppft")


@pytest.fixture(scope="module", autouse=True)
def aliases():
    """The alias packages, importable in this module alone; commands find the tree's."""
    before = set(sys.modules)
    sys.path.insert(0, folder())
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{BIN}{os.pathsep}{path}"
    import pathos
    import pathos.portpicker
    import pathos.secure
    import pathos.xmlrpc

    globals()["pathos"] = pathos
    yield
    os.environ["PATH"] = path
    sys.path.remove(folder())
    for name in set(sys.modules) - before:
        if name.split(".")[0] in NAMES:
            del sys.modules[name]


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def gone(pid):
    process = leaks.read_process(pid)
    return process is None or process.state == "Z"


def test_a_pipe_here():
    pipe = pathos.connection.Pipe()
    assert pipe(command="echo hello", stdin=None)["message"] == "echo hello"
    with pytest.raises(pathos.connection.PipeException):
        pipe.response()
    pipe.launch()
    assert pipe.response() == pipe.response() == "hello\n" and pipe.pid() == 0
    pipe(command="echo out; echo err >&2; sleep 100", background=True)
    pipe.launch()
    pid = pipe.pid()
    assert pid > 0 and sorted(pipe.response().split()) == ["err", "out"]
    pipe.kill()
    assert pipe.pid() == 0
    until(lambda: gone(pid))


def test_a_pipe_there(sshd):
    pipe = pathos.secure.Pipe("name")
    shown = pipe(command="echo $HOME; pwd", host="node", options="-q")
    assert shown["message"] == 'ssh -q node "echo $HOME; pwd"' and shown["host"] == "node"
    pipe.launch()
    home, here = pipe.response().split()
    assert home == here != os.environ["HOME"]
    pipe(command="echo $$; exec sleep 100", background=True)
    pipe.launch()
    pid = int(pipe.response())
    assert not gone(pid)
    pipe.kill()
    until(lambda: gone(pid))


def test_a_copy(sshd, tmp_path):
    for name in ("one.txt", "two.txt"):
        (tmp_path / name).write_text(name)
    copier = pathos.secure.Copier()
    with pytest.raises(KeyError):
        copier(command="x")
    (tmp_path / "to").mkdir()
    copier(source=f"{tmp_path}/*.txt", destination=f"node:{tmp_path}/to", options="-q")
    copier.launch()
    copier.response()
    assert sorted(p.name for p in (tmp_path / "to").iterdir()) == ["one.txt", "two.txt"]
    pathos.core.copy(f"node:{tmp_path}/to/one.txt", str(tmp_path / "back"))
    pathos.core.copy(str(tmp_path / "to"), str(tmp_path / "whole"))
    assert (tmp_path / "back").read_text() == "one.txt" == (tmp_path / "whole" / "one.txt").read_text()


def test_a_tunnel(sshd):
    tunnel = pathos.secure.Tunnel("name")
    assert repr(tunnel) == "Tunnel('name')" and not tunnel.connected
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        local = tunnel.connect("node", port)
        assert (tunnel._lport, tunnel._rport, tunnel.connected) == (local, port, True)
        with socket.create_connection(("127.0.0.1", local)) as end:
            there, _ = server.accept()
            there.sendall(b"through")
            assert end.recv(7) == b"through"
            there.close()
    tunnel.disconnect()
    assert not tunnel.connected
    with pytest.raises(pathos.secure.TunnelException, match="resolve"):
        pathos.core.connect("nowhere.example.invalid", 1)


@pytest.mark.parametrize("host", [None, "node"])
def test_processes(sshd, host):
    core = pathos.core
    launcher = core.execute("echo up; sleep 98765", host)
    assert launcher.response() == "up\n"
    pid = core.getpid("sleep 9876[5]$", host)
    assert "sleep 98765" in core.getpid("sleep 98765", host, all=True)
    parent = core.getppid(pid, host)
    assert pid in core.getchild(parent, host)
    assert pid in core.getchild(core.getppid(pid, host, group=True), host, group=True)
    core.kill(pid, host)
    until(lambda: gone(pid))
    launcher.kill()
    for wrong in (lambda: core.getpid("no such thing 4711", host), lambda: core.kill(4194303, host)):
        with pytest.raises(OSError):
            wrong()
    assert core.getpid() == os.getpid() and core.getppid() == os.getppid()
    assert 0 < core.randomport(host) < 65536


def test_the_registry_is_ergons():
    import ergon

    pathos.hosts.register_profiles({"far": ".profile"})
    try:
        assert ergon.hosts.get_profile("far") == pathos.hosts.get_profile("far") == ".profile"
        assert pathos.hosts.get_profile("other") == ".bash_profile"
        assert pathos.hosts.get_profile("other", assume=False) is None
        assert pathos.hosts.get_profiles()["far"] == ".profile"
    finally:
        ergon.hosts.unregister("far")


def test_a_selector():
    selector = pathos.selector.Selector()
    ends, told = os.pipe(), []

    def on_data(which, fd):
        told.append(os.read(fd, 10))
        return len(told) < 2

    def on_idle(which):
        told.append("idle")
        which.state = False

    selector.notifyOnReadReady(ends[0], on_data)
    selector.notifyWhenIdle(on_idle)
    os.write(ends[1], b"a")
    writer = threading.Timer(0.1, os.write, (ends[1], b"b"))
    writer.start()
    selector.watch(0.5)
    writer.join()
    assert told == [b"a", b"b", "idle"] and not selector._input
    for end in ends:
        os.close(end)


def test_an_xmlrpc_server():
    server = pathos.xmlrpc.XMLRPCServer("", 0)
    assert server.host == "127.0.0.1"
    server.register_function(pow, "pow")
    server.register_function(os.getpid, "run")
    server.activate()
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        proxy = xmlrpc.client.ServerProxy(f"http://127.0.0.1:{server.port}")
        assert proxy.pow(2, 10) == 1024
        assert proxy.run() != os.getpid()
        with pytest.raises(xmlrpc.client.Fault, match="unsupported operand"):
            proxy.pow("ä", 2)
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port)) as rude:
            rude.sendall(b"POST / HTTP/1.0\r\nContent-Length: 99999999999\r\n\r\n")
            assert b"500" in rude.recv(100)
        assert proxy.pow(3, 2) == 9
        proxy("close")()
    finally:
        server.deactivate()
        with contextlib.suppress(OSError):
            socket.create_connection((server.host, server.port)).close()
        thread.join()
        server.close()


def test_ports():
    pick = pathos.portpicker.portnumber(min=20000, max=20005)
    found = set()
    with pytest.raises(RuntimeError, match="exhausted"):
        while True:
            found.add(pick())
    assert found <= set(range(20000, 20006))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RuntimeError):
            pathos.portpicker.randomport(port, port)


SCRIPTS = ["portpicker", "pathos_connect", "ppserver", "portpicker.py", "pathos_server.py", "pathos_tunnel.py"]


@pytest.mark.parametrize("script", [*SCRIPTS, "tunneled_pathos_server.py"])
def test_every_command_has_help(script):
    assert shutil.which(script) == str(BIN / script)
    done = subprocess.run([script, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.lower().startswith("usage: ") and not done.stderr


def test_portpicker_prints_a_port():
    for script in ("portpicker", "portpicker.py"):
        port = int(subprocess.run([script], capture_output=True, text=True, check=True).stdout)
        socket.create_server(("127.0.0.1", port)).close()


@contextlib.contextmanager
def command(*words):
    """A command that runs until its input ends; its lines up to the one that asks for Enter."""
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    lines = []
    try:
        for line in process.stdout:
            lines.append(line.strip())
            if line.startswith("Press <Enter>"):
                break
        yield lines
    finally:
        process.stdin.write("\n")
        process.stdin.close()
        assert process.wait(30) == 0
        process.stdout.close()


def number(lines, word):
    (found,) = [line.rpartition(word)[2] for line in lines if word in line]
    return int(found.split()[0])


@pytest.mark.parametrize(
    "words", [["pathos_connect", "node", "ppserver", "tunnel"], ["tunneled_pathos_server.py", "node"]]
)
def test_a_tunnelled_server(sshd, monkeypatch, words):
    import ppft

    there = pathlib.Path(pathos.core.execute("echo $HOME", "node", bg=False).response().strip())
    monkeypatch.setenv("XDG_CONFIG_HOME", str(there / ".config"))  # both sides have the same key
    with command(*words) as lines:
        local, pid = number(lines, "localhost at port="), number(lines, "pid=")
        server = ppft.Server(0, ppservers=(f"127.0.0.1:{local}",))
        assert [server.submit(pow, (i, 2))() for i in range(5)] == [0, 1, 4, 9, 16]
        server.destroy()
        assert not gone(pid)
    until(lambda: gone(pid))
    shutil.rmtree(there / ".config")


def test_a_server_without_a_tunnel(sshd):
    port = pathos.portpicker.randomport()
    for words in (
        ["pathos_connect", "node", "ppserver", str(port)],
        ["pathos_server.py", "localhost", "ppserver", str(port)],
    ):
        with command(*words) as lines:
            assert number(lines, "running at port=") == port
            until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
        until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) != 0)


def test_a_tunnel_alone(sshd):
    for words in (["pathos_connect", "node"], ["pathos_tunnel.py", "node"]):
        with command(*words) as lines:
            assert number(lines, "localhost at port=") > 0


def test_what_cannot_be_connected(sshd):
    done = subprocess.run(["pathos_tunnel.py", "nowhere.example.invalid"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "resolve" in done.stderr
    done = subprocess.run(["pathos_connect", "node", "no_such_server"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "no_such_server" in done.stderr
    assert subprocess.run(["pathos_connect", "node", "tunnel", "5"], capture_output=True).returncode == 2
