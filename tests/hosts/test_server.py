"""`ergon server`: where it listens, whom it lets in, when it ends."""

import json
import os
import pathlib
import re
import select
import signal
import socket
import subprocess
import sys

import ergon
import pytest
from ergon import _core

COMMAND = str(pathlib.Path(sys.executable).with_name("ergon"))
ADDRESS = re.compile(r"tcp://127\.0\.0\.1:(\d+)\n")


@pytest.fixture
def serve(tmp_path):
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [COMMAND, "server", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "HOME": str(tmp_path)},
        )
        started.append(process)
        assert select.select([process.stdout], [], [], 20)[0]
        return process, process.stdout.readline()

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_it_prints_where_it_listens_and_makes_a_key(serve, tmp_path):
    process, line = serve()
    port = int(ADDRESS.fullmatch(line).group(1))
    key = tmp_path / ".config" / "ergon" / "key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(_core._read_key(str(key))) == 32
    with socket.create_connection(("127.0.0.1", port)) as stranger:
        stranger.sendall(b"x" * 88)
        assert stranger.recv(1) == b""  # hung up on without a word
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def test_it_ends_when_nobody_is_there(serve):
    process, _ = serve("--idle", "0.2")
    assert process.wait(20) == 0


def test_a_port_is_taken_once(serve):
    _, line = serve()
    process, nothing = serve("--port", line.rpartition(":")[2].strip())
    assert nothing == "" and process.wait(20) == 1
    assert "Address already in use" in process.stderr.read()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--host", "0.0.0.0"], 1, "can be reached by others: name a key file with --key"),
        (["--host", "::"], 1, "can be reached by others"),
        (["--key", "/no/such/key"], 1, "there is no key file /no/such/key"),
        (["--port", "70000"], 1, "--port is a port, 0 (any that is free) to 65535"),
        (["--port"], 2, "--port needs a value"),
        (["--secret", "x"], 2, "unexpected argument '--secret'"),
    ],
)
def test_what_it_refuses(serve, arguments, status, words):
    process, line = serve(*arguments)
    assert line == "" and process.wait(20) == status
    assert words in process.stderr.read()


def test_a_key_others_can_read_is_no_key(serve, tmp_path):
    path = tmp_path / "key"
    assert subprocess.run([COMMAND, "server", "--new-key", path], check=False).returncode == 0
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    process, line = serve("--key", path)
    assert line == "" and process.wait(20) == 1
    assert "chmod 600" in process.stderr.read()


def test_its_status_is_seen_from_outside(serve, tmp_path):
    process, line = serve()

    def status(*words):
        done = subprocess.run([COMMAND, "server", "--status", *words], capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr
        return done.stdout

    def mine():
        (found,) = [one for one in json.loads(status("--json")) if one["pid"] == process.pid]
        return found

    assert mine()["tenants"] == mine()["slots"] == 0
    key = tmp_path / ".config" / "ergon" / "key"
    with ergon.Pool(f"{line.strip()}?slots=2&key={key}") as pool:
        assert pool.map(len, [b"x" * 1000] * 50, chunksize=1) == [1000] * 50
        found = mine()
        assert (found["tenants"], found["slots"]) == (1, 2)
        assert found["tasks"] > 0 and found["up_s"] > 0
        assert f"pid {process.pid} " in status()
