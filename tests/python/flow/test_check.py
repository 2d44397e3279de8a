"""Check mode names the functionals that broke their promise."""

import os
import subprocess
import sys

PROGRAM = """
import itertools
from ergon import functional, schedule

count = itertools.count()
STEP = 1

@functional
def good(x):
    return x + 1

@functional
def spoils(xs):
    xs.append(1)
    return len(xs)

@functional
def moody(x):
    return next(count)

@functional
def reads(x):
    return x * STEP

@schedule
def main():
    global STEP
    xs = [0]
    out = [good(1), spoils(xs), xs]
    moody(1)
    for STEP in range(3):
        out.append(reads(2))
    return out

print(main())
"""


def run(tmp_path, **more):
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {**os.environ, **more}
    return subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )


def test_names_function_line_and_promise(tmp_path):
    done = run(tmp_path, ERGON_CHECK="1")
    assert done.stdout == "[2, 2, [0, 1], 0, 2, 4]\n"
    said = done.stderr.splitlines()
    assert len(said) == 3, said
    assert "program.py:12: functional spoils() changed an argument" in said[0]
    assert "program.py:17: functional moody() gave two results for one input" in said[1]
    assert "program.py:21: functional reads() reads the global 'STEP', which changes" in said[2]
    assert not any("good" in line for line in said)


SURVEY = """
from ergon import functional, schedule

@functional
def f(x):
    return sum(range(x % 7 + 3000))

def report(xs):
    print(len(xs))

@schedule
def main(n):
    out = []
    for i in range(n):
        out.append(f(i))
    report(out)
    return [f(v % 5) for v in out]

main(6)
"""


def test_run_has_the_option(tmp_path):
    import shutil

    command = os.path.join(os.path.dirname(sys.executable), "ergon")
    if not shutil.which(command):
        import pytest

        pytest.skip("the command ergon is not built")
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [command, "run", "--check", "program.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "spoils() changed an argument" in done.stderr


def test_the_example_runs(tmp_path):
    import pathlib

    script = pathlib.Path(__file__).resolve().parents[3] / "examples" / "schedule" / "survey.py"
    text = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert [line.split() for line in text.splitlines()][-3:] == [
        ["north", "1.500"],
        ["east", "1.400"],
        ["southern", "1.800"],
    ]
    assert "north: steep in round 0" in text
