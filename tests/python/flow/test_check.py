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
    # CPython 3.12 and 3.13 warn where an itertools object is pickled, as they would without Ergon.
    said = [line for line in done.stderr.splitlines() if "functional " in line or "scheduled " in line]
    assert "program.py:12: functional spoils() changed an argument" in said[0]
    assert "program.py:17: functional moody() gave two results for one input" in said[1]
    assert "program.py:21: functional reads() reads the global 'STEP', which changes" in said[2]
    assert not any("good" in line for line in said)
    both = next(line for line in said if "program.py:25: scheduled main()" in line)
    assert "sequentially result [2, 2, [0, 1], 0, 2, 4], in parallel result [2, 2, [0], 0, 2, 4]" in both
    assert done.stdout == "[2, 2, [0], 0, 2, 4]\n"  # as without the check


BOTH_WAYS = """
import os
from ergon import functional, schedule

@functional
def good(x):
    return [x + 1]

@functional
def where(x):
    return os.getppid() + x

class Thing:
    def __init__(self):
        self.parts = []

    @schedule
    def fill(self, n):
        for i in range(n):
            self.parts += good(i)
            print(i, self.parts)
        if n == 3:
            raise LookupError(n)
        return self

@schedule
def generates(n):
    for i in range(n):
        yield good(i)

@schedule
def wrong():
    first = where(1)
    print("pid", first)

thing = Thing()
assert thing.fill(2) is thing
try:
    thing.fill(3)
except LookupError as error:
    print(error.args, thing.parts)
print(list(generates(2)), good(5))
wrong()
"""


def test_both_ways(tmp_path):
    (tmp_path / "both.py").write_text(BOTH_WAYS)
    environment = {**os.environ, "ERGON_CHECK": "1"}
    done = subprocess.run(
        [sys.executable, "both.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert lines[:5] == ["0 [1]", "1 [1, 2]", "0 [1, 2, 1]", "1 [1, 2, 1, 2]", "2 [1, 2, 1, 2, 3]"]
    assert lines[5:7] == ["(3,) [1, 2, 1, 2, 3]", "[[1], [2]] [6]"]
    said = [line for line in done.stderr.splitlines() if line.startswith("ergon check:")]
    assert len(said) == 2, said
    assert "both.py:9: functional where() gave another result in a worker than sequentially" in said[0]
    assert "both.py:31: scheduled wrong(): what it prints differs: sequentially 'pid " in said[1]


LAZY = """
import asyncio
import os
from ergon import functional, schedule

@functional
def good(x):
    return x + 1

@functional
def where(x):
    return os.getppid() + x

@functional
async def ask(x):
    await asyncio.sleep(0.001)
    return x * 2

@functional
async def spoils(xs):
    xs.append(1)
    return len(xs)

@schedule
def items(n, box):
    got = None
    for i in range(n):
        print("item", i, got, box)
        try:
            got = yield good(i) + len(box)
        except KeyError as error:
            got = repr(error)
    return "end"

@schedule
def pids():
    for i in range(2):
        yield where(i)

@schedule
async def talks(xs):
    return [await ask(x) for x in xs]

@schedule
async def fails(xs):
    await ask(1)
    raise LookupError(xs)

@schedule
async def loses(xs):
    return await spoils(xs), xs

@schedule
async def waits():
    await asyncio.sleep(30)

box = []
generator = items(4, box)
print(next(generator))
box.append(1)  # what is done between two items is seen both ways
print(generator.send("sent"))
print(generator.throw(KeyError("k")))
print(next(generator))
try:
    next(generator)
except StopIteration as stop:
    print(stop.value)
early = items(3, [])
next(early)
early.close()
list(pids())

async def main():
    print(await asyncio.gather(talks([1, 2, 3]), talks([4])))
    try:
        await fails([1])
    except LookupError as error:
        print(error)
    print(await loses([0]))
    try:
        await asyncio.wait_for(waits(), 3)
    except TimeoutError:
        print("late")

asyncio.run(main())
"""


def test_generators_item_by_item_and_coroutines(tmp_path):
    (tmp_path / "lazy.py").write_text(LAZY)
    lines, said = [], []
    for environment in ({}, {"ERGON_CHECK": "1"}):
        done = subprocess.run(
            [sys.executable, "lazy.py"],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        lines.append(done.stdout)
        said.append([line for line in done.stderr.splitlines() if line.startswith("ergon check:")])
    assert lines[0] == lines[1]
    assert said[0] == []
    assert len(said[1]) == 3, said[1]
    assert "lazy.py:10: functional where() gave another result in a worker than sequentially" in said[1][0]
    assert "lazy.py:35: scheduled pids(): what comes of it differs: sequentially item" in said[1][1]
    assert "lazy.py:49: scheduled loses(): what comes of it differs: sequentially result (2, [0, 1])" in said[1][2]


def test_a_coroutine_that_waits_for_what_its_copy_has_not(tmp_path):
    program = """
import asyncio
from ergon import functional, schedule

@functional
async def ask(x):
    return x

@schedule
async def waits(event):
    await event.wait()
    return await ask(1)

async def main():
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(0.1, event.set)
    print(await waits(event))

asyncio.run(main())
"""
    (tmp_path / "waits.py").write_text(program)
    environment = {**os.environ, "ERGON_CHECK": "1", "ERGON_CHECK_SECONDS": "0.5"}
    done = subprocess.run(
        [sys.executable, "waits.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"
    assert "scheduled waits(): its sequential run was not through after 0.5 s; nothing was compared" in done.stderr


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


def test_what_is_the_same_is_not_reported(tmp_path):
    """Arrays in containers: that some came from a worker, and share less than they would here, is no difference."""
    import pytest

    pytest.importorskip("numpy")
    (tmp_path / "program.py").write_text(
        "import ergon, numpy as np\n"
        "@ergon.functional\ndef twice(x):\n    return x * 2\n"
        "@ergon.functional\ndef masked(x):\n    return [np.ma.array(x, mask=[0, 1, 0])] * 2\n"
        "@ergon.schedule\ndef main(x):\n    return [twice(x), twice(x + 1)], {'a': twice(x)}, masked(x)\n"
        "main(np.arange(3))\n"
    )
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ, ERGON_CHECK="1"),
    )
    assert done.stderr == ""
