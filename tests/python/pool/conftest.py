"""Pools of every kind for the tests of this folder, and a way to run a program of its own."""

import subprocess
import sys
import textwrap

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


def _opened(request, kind):
    pool = KINDS[kind]()
    yield pool
    pool.terminate()
    pool.join()
    request.node.funcargs.clear()  # else pytest keeps the pool beyond the leak check of the module


@pytest.fixture(params=KINDS)
def pool(request):
    """A pool of each kind in turn."""
    yield from _opened(request, request.param)


@pytest.fixture(params=PARALLEL)
def parallel_pool(request):
    """A pool of each kind that has workers."""
    yield from _opened(request, request.param)


@pytest.fixture(params=SEPARATE)
def separate_pool(request):
    """A pool of each kind whose tasks get copies of their arguments."""
    yield from _opened(request, request.param)


@pytest.fixture
def process_pool(request):
    """Two worker processes."""
    yield from _opened(request, "processes")


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
