"""Type checkers know what the package's functions give: mypy reads a program that uses them as its stubs say."""

import os
import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow
ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = """\
from typing import assert_type

import ergon


@ergon.functional
def text(x: int) -> str:
    return str(x)


@ergon.schedule
def both(n: int) -> list[str]:
    return [text(i) for i in range(n)]


assert_type(both(2), list[str])

with ergon.ProcessPool(2, max_tasks=3) as pool:
    assert_type(pool, ergon.ProcessPool)
    assert_type(pool.map(text, [1], chunksize=1), list[str])
    assert_type(pool.options(timeout=1.5).pipe(len, "a"), int)
    future = pool.submit(len, "abc", resources={"kind": "process"})
    assert_type(future, ergon.Future[int])
    assert_type(future.result(1), int)
    assert_type(pool.amap(len, ["a"]).get(), list[int])
    for n in pool.imap(len, ["a"]):
        assert_type(n, int)
    pool.pipe(len, pool.put("abc"))

with ergon.Pool("local:1", {"type": "threads", "cores": 1}, require="all") as mixed:
    assert_type(mixed.map_reduce(len, max, ["a"]), int)

with ergon.SerialPool() as serial:
    assert_type(serial.put("a"), str)
    assert_type(serial.uimap(len, ["a"]).next(), int)

with ergon.ThreadPool(1) as one, one.executor() as executor:
    assert_type(executor.submit(text, 1).result(), str)
    for line in executor.map(text, [1]):
        assert_type(line, str)

assert_type(ergon.ssh.Pipe(None, "true").errors, str)
assert_type(ergon.ssh.Pipe("far", ["ls", "-l"], text=False, port=22).errors, bytes)
with ergon.ssh.Tunnel("far", 5432) as tunnel:
    assert_type(tunnel.connected, bool)
ergon.ssh.Copier(["a"], "far:b", launcher="sftp")(timeout=3)
for host in ergon.hosts.look(["far"], timeout=1):
    assert_type(host.latency_s, float)
assert_type(ergon.config.find(), str | None)

assert_type(ergon.dumps(1), bytes)
"""
WRONG = """\
import ergon

with ergon.ThreadPool(2) as pool:
    pool.map(len, ["a"], chunks=1)
    pool.submit(len, "abc").results()
    ergon.SerialPool(workers=2)
    ergon.mapp
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One for all, so that what mypy knows of the package is found out once."""
    return tmp_path_factory.mktemp("typed")


def errors(folder, program):
    (folder / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", "program.py"],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(ROOT / "python")},
    )
    assert done.returncode in (0, 1), done.stderr
    return [line for line in done.stdout.splitlines() if ": error: " in line]


def test_what_calls_give_is_known(folder):
    assert errors(folder, PROGRAM) == []


def test_wrong_calls_are_found(folder):
    found = [line.split(":")[1] for line in errors(folder, WRONG)]
    assert found == ["4", "5", "6", "7"]
