"""ergon explain: the text, the page and the graph say what happened, statement by statement."""

import os
import pathlib
import subprocess
import sys
import xml.etree.ElementTree

import pytest
from ergon import _core, _dataflow, explain

COMMAND = pathlib.Path(sys.executable).with_name("ergon")
ahead = pytest.mark.skipif(sys.version_info >= (3, 15), reason="calls run ahead on CPython 3.11 to 3.14")

SURVEY = """import time
from ergon import functional, schedule

@functional
def f(x):
    time.sleep(0.002)
    return sum(range(x % 7 + 3000))

def report(xs):
    print(len(xs))

@schedule
def main(n):
    out = []
    for i in range(n):
        out.append(f(i))
    report(out)
    last = 0
    for v in out:
        last = f(v % 5
                 + last % 2)
    return last

main(6)
"""


def run(tmp_path, *arguments, **more):
    (tmp_path / "survey.py").write_text(SURVEY)
    line = [str(COMMAND), "explain"] if COMMAND.exists() else [sys.executable, "-m", "ergon.explain"]
    return subprocess.run([*line, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False, **more)


@ahead
def test_the_text_shows_calls_and_where_running_ahead_ended(tmp_path):
    done = run(tmp_path, "survey.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "6\n"
    rows = done.stderr.splitlines()
    calls = next(row for row in rows if "out.append(f(i))" in row)
    assert calls.split()[1] == "||"
    assert "f: 5 ran ahead, 1 waited for" in calls
    call = next(k for k, row in enumerate(rows) if "report(out)" in row)
    assert rows[call].split()[1] == "##"
    assert "a module-level function has effects (decorate it with @schedule" in rows[call + 1]
    effect = next(k for k, row in enumerate(rows) if "print(len(xs))" in row)
    assert "running ahead ends here" in rows[effect + 1]
    chain = next(row for row in rows if "last = f(v % 5" in row)
    assert chain.count("waited for") == 1
    assert "ms of waiting" in chain
    assert "\x1b[" not in done.stderr


@ahead
def test_colours_when_wanted(tmp_path):
    assert "\x1b[32m" in run(tmp_path, "--color", "always", "survey.py").stderr
    assert "\x1b[" not in run(tmp_path, "--color=never", "survey.py").stderr


@ahead
def test_page_and_graph(tmp_path):
    done = run(tmp_path, "--html", "page.html", "--svg=graph.svg", "-m", "survey")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    page = (tmp_path / "page.html").read_text()
    assert '<tr class="ahead"><td class="n">16</td>' in page
    assert '<tr class="stop"><td class="n">17</td>' in page
    assert "<svg" in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    graph = xml.etree.ElementTree.parse(tmp_path / "graph.svg").getroot()
    words = [text.text for text in graph.iter("{http://www.w3.org/2000/svg}text")]
    assert any("out.append(f(i))" in text for text in words)


def test_exit_status_and_errors(tmp_path):
    (tmp_path / "three.py").write_text("raise SystemExit(3)")
    assert run(tmp_path, "three.py").returncode == 3
    (tmp_path / "bad.py").write_text("1/0")
    done = run(tmp_path, "bad.py")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert run(tmp_path, "--svg", os.fspath(tmp_path / "no" / "x.svg"), "survey.py").returncode == 1
    if COMMAND.exists():
        for wrong in ([], ["--html"], ["--nonsense", "survey.py"]):
            assert run(tmp_path, *wrong).returncode == 2


def test_arrows_follow_names_loops_and_conditions():
    import ast

    source = """def main(xs):
    a = f(1)
    b = f(2)
    out = []
    for x in xs:
        out.append(g(a, x))
    c = a + b
    if c:
        d = f(3)
    else:
        d = 0
    s = 0
    for o in out:
        s = f(s)
    return h(out, d), s
"""
    lines = source.splitlines()
    names = {n: line for n, line in enumerate(lines, 1) if any(f"{f}(" in line for f in "fgh") and n > 1}
    graph = _dataflow.read(ast.parse(source).body[0], {n: ("", "ahead") for n in names}, lines)
    edges = {(graph.nodes[a].line, graph.nodes[b].line): kind for (a, b), kind in graph.edges.items()}
    assert edges == {
        (2, 6): "data",
        (2, 9): "control",
        (3, 9): "control",
        (14, 14): "next",
        (6, 15): "data",
        (9, 15): "data",
        (14, 15): "data",
    }
    assert "<svg" in _dataflow.svg([("main", graph)])


def test_nothing_to_show():
    assert _core._flow_explain(False) is None
    assert "no scheduled function" in explain.table({})
    assert "No scheduled function" in explain.page({})
