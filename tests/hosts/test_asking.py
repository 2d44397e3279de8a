"""What workers on other hosts ask their pool's owner for: modules they lack. And the pool itself, which tasks may use there."""

import os
import pathlib
import subprocess
import sys
import time

import ergon
import pytest

HERE = str(pathlib.Path(ergon.__file__).resolve().parent.parent)
AGENT = f"env PYTHONPATH={HERE} {sys.executable} -m ergon._agent"


def place(slots=2, **options):
    return f"exec:{AGENT}?slots={slots}" + "".join(f"&{k}={v}" for k, v in options.items())


def run(folder, body):
    """Runs a program whose modules the agent's workers do not find: they are zipped out of their sight afterwards."""
    program = folder / "program.py"
    program.write_text(body)
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60, cwd="/")
    return done.stdout + done.stderr


PROGRAM = """
import sys, traceback, ergon
hidden = {folder!r}
def unseen():  # as if this folder were on this host alone
    sys.path[:] = [p for p in sys.path if not p.startswith(hidden)]
with ergon.Pool({place!r}, initializer=unseen) as pool:
{body}
"""


def shipped(tmp_path, body, **options):
    import textwrap

    text = PROGRAM.format(folder=str(tmp_path), place=place(**options), body=textwrap.indent(body, "    "))
    return run(tmp_path, text)


@pytest.fixture
def modules(tmp_path):
    files = {
        "mine/__init__.py": "from . import inner\nfrom helper_here import twice\n",
        "mine/inner.py": "def fail():\n    raise ValueError('here')  # this line\n",
        "mine/data/words.txt": "some words",
        "helper_here.py": "def twice(x):\n    return 2 * x\n",
        "spaced/part.py": "value = 7\n",
        "half/__init__.py": "",
        "half/quick.cpython-311-x86_64-linux-gnu.so": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_modules_are_asked_for(modules):
    body = (
        "def task(x):\n    import mine, spaced.part\n    return mine.twice(x) + spaced.part.value\n"
        "print(pool.map(task, range(4)))\n"
    )
    assert "[7, 9, 11, 13]" in shipped(modules, body, modules="ship")
    assert "ModuleNotFoundError" in shipped(modules, body)


def test_tracebacks_have_the_lines(modules):
    body = (
        "def task():\n    from mine.inner import fail\n    fail()\n"
        "try:\n    pool.pipe(task)\nexcept ValueError:\n    traceback.print_exc()\n"
    )
    text = shipped(modules, body, modules="ship")
    assert f'File "{modules}/mine/inner.py", line 2, in fail' in text and "# this line" in text


def test_what_is_compiled_is_refused_with_words(modules):
    body = (
        "def task():\n    import half\n"
        "try:\n    pool.pipe(task)\nexcept ModuleNotFoundError as error:\n    print('told:', error)\n"
    )
    text = shipped(modules, body, modules="ship")
    assert "told: No module named 'half' on " in text and "has compiled parts" in text


def test_what_nobody_has_is_missing_as_ever(modules):
    body = (
        "def task():\n    try:\n        import nobody_has_this\n    except ModuleNotFoundError as error:\n"
        "        return str(error)\nprint(pool.pipe(task))\n"
    )
    assert "No module named 'nobody_has_this'\n" in shipped(modules, body, modules="ship")


def test_files_of_packages(modules):
    body = (
        "def task():\n    import mine, pkgutil\n    from importlib import resources\n"
        "    return (resources.files('mine') / 'data' / 'words.txt').read_text(), "
        "pkgutil.get_data('mine', 'data/words.txt')\nprint(pool.pipe(task))\n"
    )
    assert "('some words', b'some words')" in shipped(modules, body, modules="ship")


def test_what_was_sent_stays(modules):
    body = (
        "def task():\n    import helper_here\n    return helper_here.twice(2), __import__('os').getpid()\n"
        "first = pool.pipe(task)\n"
        "open(hidden + '/helper_here.py', 'w').write('def twice(x):\\n    return 100\\n')\n"
        "import os, signal\nos.kill(first[1], signal.SIGKILL)\n"  # the next worker asks anew
        "print('twice', first[0], pool.options(retries=3).pipe(task)[0])\n"
    )
    assert "twice 4 4" in shipped(modules, body, modules="ship", slots=1)


def test_a_task_uses_its_pool_on_every_host():
    def nested(n):
        time.sleep(0.02)  # so that nobody is done with all of them before the others have come
        return sum(pool.map(abs, range(-n, 0))), os.getppid()

    with ergon.Pool(place(1), place(2), "local:1") as pool:
        assert pool._wait_up(4, 30)
        seen = set()
        for _ in range(20):
            results = pool.map(nested, range(12), chunksize=1)
            assert [total for total, _ in results] == [n * (n + 1) // 2 for n in range(12)]
            seen |= {parent for _, parent in results}
            if len(seen) == 3:
                break
        assert len(seen) == 3  # three zygotes: here and at both agents


def test_deeper_nesting_with_one_worker_there():
    def level(p, n):
        return n if n == 0 else 1 + max(p.map(lambda _: level(p, n - 1), range(2)))

    with ergon.Pool(place(1)) as pool:
        assert pool.pipe(level, pool, 4) == 4
        assert pool.pipe(lambda: pool.apipe(abs, -3).result()) == 3


def test_a_pool_that_comes_back_is_the_same():
    with ergon.Pool(place(1)) as pool:
        back = pool.pipe(lambda p: p, pool)
        assert back.pipe(abs, -2) == 2


def test_an_answer_that_is_too_long(modules):
    """A module of more than 16 MB of source: that import fails, with words; the host goes on."""
    with open(modules / "huge.py", "w") as file:
        file.write("text = '" + "x" * (17 << 20) + "'\n")
    body = (
        "def task(name):\n    return len(__import__(name).__dict__) > 0\n"
        "try:\n    pool.pipe(task, 'huge')\nexcept ImportError as error:\n    print('said:', error)\n"
        "print(pool.pipe(task, 'helper_here'), pool.stats['hosts'][0]['state'])\n"
    )
    said = shipped(modules, body, modules="ship")
    assert "said: " in said and "huge" in said and "True up" in said, said


COLLECTED = """
import gc, sys, time, weakref
import ergon

class Cycle:
    pass

class Finder:
    #Who looks for this module has the pool collected, in the thread that answers.
    def find_spec(self, name, target=None):
        if name == "only_here_{n}":
            gc.collect()
            seen.append(pool() is None)

def hook(path):
    if path != "/nowhere/at/all":
        raise ImportError
    return Finder()

def wants():
    import only_here_{n}

seen = []
gc.disable()
sys.path_hooks.insert(0, hook)
sys.path.append("/nowhere/at/all")
cycle = Cycle()
cycle.itself = cycle
cycle.pool = ergon.Pool({place!r})
assert cycle.pool.pipe(abs, -1) == 1
pool = weakref.ref(cycle.pool)
cycle.future = cycle.pool.apipe(wants)
del cycle
end = time.monotonic() + 30
while not seen and time.monotonic() < end:
    time.sleep(0.01)
gc.collect()
print("seen", seen, pool())
with ergon.Pool({place!r}) as another:  # the engine is as well as before
    print(another.pipe(pow, 2, 10))
"""


def test_a_pool_that_is_collected_while_it_answers(tmp_path):
    """The thread that answers may be the one that lets go of the pool last, which ends that very thread."""
    for n in range(3):
        said = run(tmp_path, COLLECTED.format(n=n, place=place(modules="ship")))
        assert "seen [True" in said and "None" in said and said.endswith("1024\n"), said
