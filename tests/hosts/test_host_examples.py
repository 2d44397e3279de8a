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


def test_copy(sshd):
    words = [line.split() for line in run("copy.py", "node").splitlines()]
    assert words == [["4", "0.txt"], ["5", "1.txt"], ["5", "2.txt"], ["14", "total"]]
