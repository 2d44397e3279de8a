"""Small nasty programs (tests/flow/nasty.txt): aliases, finalizers, tracing, signals, threads beside, globals and classes that change
between calls. Each is run plainly and scheduled, in processes of their own, and has to print the same."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

_FILE = pathlib.Path(__file__).resolve().parents[2] / "flow" / "nasty.txt"
_PARTS = re.split(r"^### (.*)$", _FILE.read_text(), flags=re.MULTILINE)[1:]
PROGRAMS = dict(zip(_PARTS[::2], _PARTS[1::2], strict=True))
_BEGIN = """
import os, sys, ergon, time, gc, weakref
from ergon import functional, schedule, _core
if os.environ.get("PLAIN"):
    _core._flow_enable(False)
ergon.configure(workers=[{"type": "multicore", "cores": 3}])

@functional
def f(x): time.sleep(0.001); return x + 1
@functional
def g(x): time.sleep(0.002); return [x]
@functional
def boom(x):
    time.sleep(0.001)
    if x % 3 == 2: raise ValueError(x)
    return x
@functional
def ident(x): return x
@functional
def lst(n): return list(range(n))
"""
_END = "\nergon.shutdown()\n"
_MODULE = """import time
N = 1
L = []
class K:
    a = 1
    def __init__(s, v=0): s.v = v
    def m(s): return s.v + N + s.a
def uf(x, acc=[]):
    time.sleep(0.001)
    return x + N + len(L) + len(acc)
def side(x):
    L.append(x)
    return x
"""


def _run(folder, source, plain):
    folder.mkdir()
    (folder / "umod.py").write_text(_MODULE)
    (folder / "main.py").write_text(source)
    environ = {k: v for k, v in os.environ.items() if k != "PLAIN"} | ({"PLAIN": "1"} if plain else {})
    line = [sys.executable, "main.py"]
    done = subprocess.run(line, cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_prints_what_it_prints_sequentially(name, tmp_path):
    source = _BEGIN + PROGRAMS[name] + _END
    plain = _run(tmp_path / "plain", source, True)
    assert plain and _run(tmp_path / "scheduled", source, False) == plain
