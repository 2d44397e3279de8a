"""The commands that come with dill, and what dill says about itself."""

import pickle
import subprocess
import sys

import pytest


def run(name, *arguments, cwd=None):
    program = f"import sys; from ergon.aliases._scripts import {name}; sys.exit({name}(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, cwd=cwd, check=False
    )


def test_undill(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(["hello", "world"]))
    (tmp_path / "b.pkl").write_bytes(b"no pickle")
    done = run("undill", str(tmp_path / "a.pkl"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "['hello', 'world']\n", "")
    done = run("undill", str(tmp_path / "b.pkl"), str(tmp_path / "none.pkl"), str(tmp_path / "a.pkl"))
    assert done.returncode == 1 and done.stdout == "['hello', 'world']\n"
    assert "b.pkl" in done.stderr and "FileNotFoundError" in done.stderr


def test_get_gprof(tmp_path):
    done = run("get_gprof", "-n", "5", "-e", "1", "import math; [math.pi, lambda: 1]", cwd=tmp_path)
    assert "cumtime" in done.stdout and "dumps" in done.stdout
    assert done.returncode == 0 if list(tmp_path.glob("*.png")) else "gprof2dot" in done.stderr
    done = run("get_gprof", "1 / 0")
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr
    assert "expression" in run("get_gprof", "import math").stderr


def test_get_objgraph(tmp_path):
    done = run("get_objgraph", "NoSuchType", cwd=tmp_path)
    assert done.returncode == 1 and "IntType" in done.stderr
    done = run("get_objgraph", "IntType", cwd=tmp_path)
    assert (tmp_path / "IntType.png").exists() if done.returncode == 0 else "objgraph" in done.stderr


@pytest.mark.parametrize("name", ["__version__", "__author__", "__license__"])
def test_info(name):
    program = (
        "import sys; from ergon.aliases import folder; sys.path.insert(0, folder()); import dill, dill.__info__ as info;"
        f"assert info.{name} is dill.{name} and isinstance(info.{name}, str) and info.__doc__"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
