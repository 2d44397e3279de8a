"""ergon top: pools of running programs, seen from outside."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time

import pytest
from ergon.trace import command

PROGRAM = """
import sys, time, ergon
with ergon.Pool("local:2", "threads:1") as pool:
    pool.map(abs, range(300))
    futures = [pool.apipe(time.sleep, 1000) for _ in range(8)]
    print("up", flush=True)
    sys.stdin.readline()
    pool.terminate()
"""


@contextlib.contextmanager
def program():
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "up\n"
        yield process
        process.stdin.write("\n")


def top(*words):
    done = subprocess.run([command(), "top", *map(str, words)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def picture(pid):
    """The pool once all its workers are busy."""
    deadline = time.monotonic() + 60
    while True:
        (pool,) = json.loads(top("--json", "-p", pid))
        if [worker["state"] for worker in pool["workers"]] == ["busy"] * 3:
            return pool
        assert time.monotonic() < deadline, pool


def test_a_busy_pool():
    with program() as process:
        pool = picture(process.pid)
        assert pool["pid"] == process.pid and "import sys" in pool["program"] and not pool["closed"]
        assert pool["queued"] == 5 and pool["tasks"] > 0 and pool["memory_bytes"] > 0
        kinds = sorted(worker["kind"] for worker in pool["workers"])
        assert kinds == ["process", "process", "thread"]
        for worker in pool["workers"]:
            assert worker["running_s"] > 0 and worker["busy"] > 0.5
            assert (worker["pid"] == process.pid) == (worker["kind"] == "thread")
        text = top("--once")
        assert "3 workers, 3 busy, 5 queued" in text


def test_many_pools_and_none():
    with program() as one, program() as other:
        pids = {pool["pid"] for pool in json.loads(top("--json"))}
        assert {one.pid, other.pid} <= pids
    assert json.loads(top("--json", "-p", os.getpid())) == []
    assert top("--once", "-p", 2**22) == "no pools\n"


def test_a_program_that_waits_is_not_woken():
    """Looking neither writes nor runs anything in the program."""
    with program() as process:
        picture(process.pid)

        def spent():
            fields = open(f"/proc/{process.pid}/stat").read().rpartition(")")[2].split()
            return int(fields[11]) + int(fields[12])

        before = spent()
        for _ in range(3):
            top("--json", "-p", process.pid)
        assert spent() - before <= 2  # hundredths of a second


@pytest.mark.parametrize("end", ["key", "signal"])
def test_on_a_terminal(end):
    master, slave = pty.openpty()
    with program() as process:
        shown = subprocess.Popen([command(), "top", "-p", str(process.pid)], stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        text = b""
        while b"3 workers" not in text:
            text += os.read(master, 65536)
        if end == "key":
            os.write(master, b"q")
        else:
            shown.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):
            while chunk := os.read(master, 65536):
                text += chunk
        assert shown.wait(30) == 0
        assert text.startswith(b"\x1b[?1049h") and b"\x1b[?25h\x1b[?1049l" in text
    os.close(master)


@pytest.mark.parametrize("words", [["-p"], ["-p", "x"], ["-n", "0"], ["--what"], ["x"]])
def test_wrong_calls(words):
    done = subprocess.run([command(), "top", *words], capture_output=True, text=True)
    assert done.returncode == 2 and "ergon top" in done.stderr
