"""The examples for other hosts run against a real ssh server."""

import pathlib
import subprocess
import sys

import ergon
import pytest

pytestmark = pytest.mark.slow
EXAMPLES = pathlib.Path(ergon.__file__).resolve().parents[2] / "examples" / "hosts"


def run(name, *hosts):
    done = subprocess.run([sys.executable, EXAMPLES / name, *hosts], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_launch(sshd):
    said = run("launch.py", "node", "other")
    assert "node: ended with status 0" in said and "other: ended with status 0" in said
    assert "node: stopped, status 143" in said and "runs: True" in said


def test_transfer(sshd):
    words = [line.split() for line in run("transfer.py", "node").splitlines()]
    assert words == [["4", "0.txt"], ["5", "1.txt"], ["5", "2.txt"], ["14", "total"]]


def test_nested(sshd):
    total, regions = run("nested.py", "node:2", "other:1").splitlines()
    assert total == "sum 275293" and regions == "regions 36 by 3 workers"


def test_mixed(sshd):
    said = run("mixed.py", "node", "other").splitlines()
    assert said[0] == "workers 6" and said[-2] == f"sum {sum(n * n for n in range(200))}"
    assert said[-1] == "only there: [1, 2, 3]"
    assert sum(int(line.split()[0]) for line in said if " calls by " in line) == 200


def test_server(sshd):
    first, result = run("server.py", "node").splitlines()
    assert first.startswith("reached as tcp://127.0.0.1:") and result == "sum of squares 328350"
