"""ergon tunnel, ergon ports, ergon hosts, and their Python names."""

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import ergon
import pytest
from ergon import ssh
from ergon.errors import SshError
from ergon.trace import command

pytestmark = pytest.mark.slow


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def run(*words, **options):
    return subprocess.run([command(), *words], capture_output=True, text=True, timeout=60, **options)


@pytest.fixture(scope="module")
def web():
    """A server on loopback: the port, which answers with its own name."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"web")

        def log_message(self, *words):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def get(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        return answer.read()


def works(port):
    try:
        return get(port) == b"web"
    except OSError:
        return False


def listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_tunnel(sshd, web):
    with ssh.Tunnel("node", web) as tunnel:
        assert tunnel.local != web and tunnel.port == web and tunnel.connected
        assert get(tunnel.local) == b"web"
        (listed,) = ssh.Tunnel.list()
        assert (listed["local"], listed["host"], listed["port"], listed["state"]) == (tunnel.local, "node", web, "up")
        local = tunnel.local
    assert not listening(local) and ssh.Tunnel.list() == [] and not tunnel.connected


def test_a_tunnel_survives_a_broken_connection(sshd, web):
    tunnel = ssh.Tunnel()
    local = tunnel.connect("node", web)
    sshd.cut()
    until(lambda: ssh.Tunnel.list()[0]["reconnects"] == 1)
    assert get(local) == b"web" and tunnel.local == local
    tunnel.disconnect()
    tunnel.disconnect()
    assert not listening(local)


def test_through_another_host(sshd, web):
    with ssh.Tunnel("127.0.0.1", web, through="other") as tunnel:
        assert get(tunnel.local) == b"web"
        assert ssh.Tunnel.list()[0]["to"] == "127.0.0.1"


def test_a_port_of_the_hosts_choice(sshd):
    with ssh.Tunnel("node") as tunnel:
        assert 0 < tunnel.port < 65536
        with socket.create_server(("127.0.0.1", tunnel.port)) as server:
            with socket.create_connection(("127.0.0.1", tunnel.local)) as here:
                there, _ = server.accept()
                here.sendall(b"hello")
                assert there.recv(5) == b"hello"
                there.close()


def test_a_local_port_of_ones_own(sshd, web):
    wanted = int(run("ports").stdout)
    with ssh.Tunnel("node", web, local=wanted) as tunnel:
        assert tunnel.local == wanted
        with pytest.raises(SshError, match="free"):
            ssh.Tunnel("node", web, local=wanted).connect()


def test_what_fails_says_why(sshd):
    with pytest.raises(SshError, match="resolve"):
        ssh.Tunnel("nowhere.example.invalid", 80).connect()
    with pytest.raises(TypeError):
        ssh.Tunnel().connect()
    done = run("tunnel", "nowhere.example.invalid", "80")
    assert done.returncode == 1 and "resolve" in done.stderr and done.stdout == ""
    assert ssh.Tunnel.list() == []


def test_a_password(sshd, web):
    if not sshd.root:
        pytest.skip("a user with a password needs root")
    with ssh.Tunnel("node-pw", web, password=sshd.password) as tunnel:
        assert get(tunnel.local) == b"web"
        sshd.cut()
        until(lambda: ssh.Tunnel.list()[0]["reconnects"] == 1)
        assert get(tunnel.local) == b"web"


def test_it_ends_with_the_program(sshd, web):
    program = (
        f"import time\nfrom ergon import ssh\ntunnel = ssh.Tunnel('node', {web})\n"
        "print(tunnel.connect(), flush=True)\ntime.sleep(100)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as owner:
        local = int(owner.stdout.readline())
        assert works(local)
        owner.kill()
    until(lambda: not listening(local) and ssh.Tunnel.list() == [])


def test_the_command_keeps_it(sshd, web):
    done = run("tunnel", "node", str(web))
    assert done.returncode == 0, done.stderr
    local, port = map(int, done.stdout.split())
    try:
        assert port == web and get(local) == b"web"
        shown = run("tunnel").stdout
        assert f"node:{web}" in shown and str(local) in shown
        assert run("tunnel", "--down", "65000").returncode == 1
    finally:
        assert run("tunnel", "--down", str(local)).returncode == 0
    assert not listening(local) and run("tunnel").stdout == "no tunnels\n"


def test_a_killed_keeper_leaves_nothing(sshd, web):
    done = run("tunnel", "node", str(web))
    (record,) = ssh.Tunnel.list()
    os.kill(record["pid"], 9)
    until(lambda: not listening(record["local"]))
    until(lambda: ssh.Tunnel.list() == [])
    assert run("tunnel", "--down", "all").returncode == 0 and done.returncode == 0


def test_tunnels_of_one_host_go_together(sshd, web):
    for host in ("node", "node", "other"):
        assert run("tunnel", host, str(web)).returncode == 0
    assert run("tunnel", "--down", "node").returncode == 0
    assert [tunnel["host"] for tunnel in ssh.Tunnel.list()] == ["other"]
    assert run("tunnel", "--down", "all").returncode == 0
    assert ssh.Tunnel.list() == []


def test_a_link_that_is_cut(hosts):
    h1 = hosts["h1"]
    serve = "import socket; s = socket.create_server(('127.0.0.1', 7070))\nwhile 1: c = s.accept()[0]; c.sendall(b'far'); c.close()"
    with ssh.Pipe("h1", ["python3", "-c", serve], background=True) as pipe:
        pipe.launch()
        with ssh.Tunnel("h1", 7070) as tunnel:

            def answers():
                try:
                    with socket.create_connection(("127.0.0.1", tunnel.local), timeout=2) as connection:
                        return connection.recv(3) == b"far"
                except OSError:
                    return False

            until(answers)
            h1.disconnect()
            until(lambda: ssh.Tunnel.list()[0]["reconnects"] >= 1)


@pytest.mark.parametrize(
    "words",
    [["--local", "x", "node"], ["node", "0"], ["node", "1", "2"], ["--what"], ["-F"], ["--", "-oX"], ["--down"]],
)
def test_wrong_calls(words):
    assert run("tunnel", *words).returncode == 2


def test_free_ports():
    ports = list(map(int, run("ports", "-n", "20").stdout.split()))
    assert len(set(ports)) == 20
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("ports", "--min", str(port), "--max", str(port))
        assert done.returncode == 1 and "free" in done.stderr
    assert run("ports", "--min", "3000", "--max", "2000").returncode == 2
    assert run("ports", "--host", "no.such.example.invalid").returncode == 1


def test_held_ports():
    with subprocess.Popen([command(), "ports", "--hold"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        port = int(holder.stdout.readline())
        with pytest.raises(OSError):
            socket.create_server(("127.0.0.1", port), reuse_port=False)
        holder.stdin.close()
        assert holder.wait(10) == 0


def test_a_look_at_hosts(sshd):
    node, nowhere = ergon.hosts.look(["node", "nowhere.example.invalid"])
    assert node.reachable and node.cores == os.cpu_count() and node.python.startswith("3.")
    assert node.ergon == ergon.__version__ and node.latency_s > 0 and node.bandwidth > 1e6 and node.memory_bytes > 0
    assert not nowhere.reachable and "resolve" in nowhere.error
    done = run("hosts", "node", "other")
    assert done.returncode == 0 and done.stdout.splitlines()[1].startswith("node "), done.stderr
    done = run("hosts", "--json", "node", "nowhere.example.invalid")
    assert done.returncode == 1 and [h["reachable"] for h in json.loads(done.stdout)] == [True, False]


def test_a_host_that_does_not_answer(hosts):
    hosts["h2"].cut()
    try:
        slow = ergon.hosts.look("h2", timeout=0.5)[0]
        assert not slow.reachable and slow.error == "no answer within 0.5 seconds"
    finally:
        hosts["h2"].heal()
    h2, h3 = ergon.hosts.look(["h2", "h3"])
    assert (h2.hostname, h3.hostname) == ("h2", "h3")


def test_latency_is_measured(make_hosts):
    slow = make_hosts(1, shaped=True)
    slow["h1"].shape(delay_us=30_000)
    (host,) = ergon.hosts.look(["h1"])
    assert 0.06 <= host.latency_s < 0.6


def test_the_hosts_of_the_configuration_file(sshd, tmp_path, monkeypatch):
    path = tmp_path / "ergon.conf"
    path.write_text('{"workers": [{"type": "multicore"}, {"type": "ssh", "hostname": "node"}, "ssh://other?slots=2"]}')
    monkeypatch.setenv("ERGON_CONF", str(path))
    assert [host.name for host in ergon.hosts.look()] == ["node", "ssh://other?slots=2"]
    assert run("hosts").returncode == 0
    path.write_text("{}")
    assert "no hosts" in run("hosts").stderr


def test_profiles():
    ergon.hosts.register_profiles({"a": ".profile", "b": ".bash_profile"})
    try:
        assert ergon.hosts.get_profile("a") == ".profile" and ergon.hosts.get_profile("c") is None
        assert ergon.hosts.get_profiles() == {"a": ".profile", "b": ".bash_profile"}
        with pytest.raises(TypeError):
            ergon.hosts.register("a", None)
    finally:
        ergon.hosts.unregister("a")
        ergon.hosts.unregister("b")
    assert ergon.hosts.get_profiles() == {}
