"""dill's own tests, unmodified, on the alias: a process per file, as `python -m dill.tests` does it.

What those files define but do not call when run (tests that need a package, or that only pytest would call) is called
in a process of its own, in which the file is the main module as well.
"""

import ast
import os
import shutil
import subprocess
import sys

import pytest
from ergon.aliases import folder

pytestmark = pytest.mark.slow

VERSION = "0.4.1"
FILES = """abc check classdef dataclasses detect dictviews diff extendpickle fglobals file functions functors logger mixins
    module moduledict nested objects properties pycapsule recursive registered restricted selected session source sources
    temp threads weakref""".split()
TESTS = 111  # test functions that need no arguments, in all files

# Runs the file as the main module, but only up to the part that calls its tests, and then one test.
ONE = """
import ast, sys
path, name = sys.argv[1:]
tree = ast.parse(open(path).read())
main = [n for n in tree.body if isinstance(n, ast.If) and "__name__" in ast.unparse(n.test)]
tree.body = [n for n in tree.body if n not in main]
__file__ = path
exec(compile(tree, path, "exec"), globals())
globals()[name]()
"""


@pytest.fixture
def suite(peer_package, tmp_path):
    """A folder with the test files alone, so that no package lies beside them."""
    tests = tmp_path / "tests"
    shutil.copytree(peer_package("dill", VERSION) / "dill" / "tests", tests)
    (tests / "__init__.py").unlink()
    (tests / "__main__.py").unlink()
    return tests


def run(suite, *command):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([folder(), str(suite)])}
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=180, env=environment, cwd=suite
    )


def functions(path):
    """(names of tests that need no arguments, names called when the file is run)."""
    tree = ast.parse(path.read_text())
    tests = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test")
        and len(node.args.args) == len(node.args.defaults)
    ]
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    return tests, called


@pytest.mark.parametrize("name", FILES)
def test_file(suite, name):
    path = suite / f"test_{name}.py"
    done = run(suite, str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    tests, called = functions(path)
    for test in tests:
        # dill's own run leaves this one out: attrs takes instances of two classes, one a copy by value, for different
        if test not in called and test != "test_attr":
            done = run(suite, "-c", ONE, str(path), test)
            assert done.returncode == 0 or "No module named" in done.stderr, f"{test}: {done.stderr}"


def test_all_files_and_tests_are_run(suite):
    paths = sorted(suite.glob("test_*.py"))
    assert [path.stem.removeprefix("test_") for path in paths] == FILES
    assert sum(len(functions(path)[0]) for path in paths) == TESTS


def test_the_package_is_ours(suite):
    done = run(suite, "-c", "import dill; print(dill.__file__)")
    assert done.stdout.startswith(folder() + os.sep)
