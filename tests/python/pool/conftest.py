"""Pools of every kind for the tests of this folder, and a way to run a program of its own."""

import subprocess
import sys
import textwrap
import time

import ergon
import pytest

KINDS = {
    "serial": lambda: ergon.SerialPool(),
    "threads": lambda: ergon.ThreadPool(2),
    "processes": lambda: ergon.ProcessPool(2),
    "mixed": lambda: ergon.Pool("local:1", "threads:1"),
}
PARALLEL = ("threads", "processes", "mixed")
SEPARATE = ("processes", "mixed")  # arguments are copied


@pytest.fixture(scope="module")
def kept_pools():
    """The pools of a module by kind. They serve one test after the other: workers import a test's module once."""
    pools = {}
    yield pools
    for opened in pools.values():
        opened.terminate()
        opened.join()
    pools.clear()


def _at_rest(pool):
    """Open, with all its workers idle: fit for the next test."""
    deadline = time.monotonic() + 1
    while not pool.closed:
        if all(worker["state"] == "idle" for worker in pool.stats["workers"]):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return False


def _lend(request, pools, kind):
    pool = pools.pop(kind, None) or KINDS[kind]()
    yield pool
    if kind != "serial" and _at_rest(pool):
        pools[kind] = pool
    else:
        pool.terminate()
        pool.join()
    request.node.funcargs.clear()  # else pytest keeps the pool beyond the leak check of the module


@pytest.fixture(params=KINDS)
def pool(request, kept_pools):
    """A pool of each kind in turn."""
    yield from _lend(request, kept_pools, request.param)


@pytest.fixture(params=PARALLEL)
def parallel_pool(request, kept_pools):
    """A pool of each kind that has workers."""
    yield from _lend(request, kept_pools, request.param)


@pytest.fixture(params=SEPARATE)
def separate_pool(request, kept_pools):
    """A pool of each kind whose tasks get copies of their arguments."""
    yield from _lend(request, kept_pools, request.param)


@pytest.fixture
def process_pool(request, kept_pools):
    """Two worker processes."""
    yield from _lend(request, kept_pools, "processes")


@pytest.fixture
def script(tmp_path):
    """Runs a program in an interpreter of its own: script(text, *args, stdin=, python=(), timeout=) -> result.

    It may not hang; `check` asserts that it ended well.
    """

    def run(text, *args, stdin=None, python=(), timeout=120, check=True):
        path = tmp_path / "program.py"
        path.write_text(textwrap.dedent(text))
        done = subprocess.run(
            [sys.executable, *python, str(path), *args],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=tmp_path,
        )
        if check:
            assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run
