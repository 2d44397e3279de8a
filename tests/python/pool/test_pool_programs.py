"""Programs of every form: scripts, standard input, -c, interactive, exec, with everything in `__main__`."""

import os
import subprocess
import sys
import textwrap

import pytest

MAIN = """
    import ergon
    from dataclasses import dataclass
    from enum import Enum
    from collections import namedtuple

    OFFSET = 100

    def plain(x):
        return x + OFFSET

    def helper(x):
        return plain(x) * 2

    def make_adder(n):
        def adder(x):
            return x + n
        return adder

    class Point:
        scale = 10
        def __init__(self, x):
            self.x = x
        def scaled(self):
            return self.x * self.scale
        def __eq__(self, other):
            return type(other) is Point and other.x == self.x

    class Child(Point):
        def scaled(self):
            return super().scaled() + 1

    @dataclass
    class Record:
        a: int
        b: str = "b"

    class Color(Enum):
        RED = 1

    Pair = namedtuple("Pair", "left right")

    class MyError(Exception):
        pass

    def fail(x):
        raise MyError(x)

    def check(pool):
        assert pool.map(plain, range(3)) == [100, 101, 102]
        assert pool.map(helper, range(3)) == [200, 202, 204]
        assert pool.map(lambda x: helper(x) + 1, range(2)) == [201, 203]
        assert pool.map(make_adder(5), range(3)) == [5, 6, 7]
        assert pool.map(Point, [1, 2]) == [Point(1), Point(2)]
        assert pool.map(Point.scaled, [Point(1), Child(2)][:1]) == [10]
        assert pool.pipe(Child(2).scaled) == 21
        assert type(pool.pipe(Child, 2)) is Child
        assert pool.pipe(Record, 1) == Record(1) and type(pool.pipe(Record, 1)) is Record
        assert pool.pipe(lambda: Color.RED) is Color.RED
        assert pool.pipe(Pair, 1, 2) == Pair(1, 2)
        try:
            pool.pipe(fail, 3)
        except MyError as error:
            assert error.args == (3,)
        else:
            raise AssertionError("no exception")

    with ergon.ProcessPool(2) as pool:
        check(pool)
    with ergon.ThreadPool(2) as pool:
        check(pool)
    print("all well")
"""


def clean(done):
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
    return done


def python(*args, stdin=None, cwd=None, timeout=120):
    return subprocess.run(
        [sys.executable, *args], input=stdin, capture_output=True, text=True, timeout=timeout, cwd=cwd
    )


def test_script(script):
    assert clean(script(MAIN)).stdout == "all well\n"


def test_script_without_a_main_guard_runs_once(script):
    """Workers do not run the script again."""
    done = script("""
        import ergon
        print("top")
        pool = ergon.ProcessPool(2)
        print(pool.map(lambda x: x + 1, range(3)))
    """)
    assert clean(done).stdout == "top\n[1, 2, 3]\n"


def test_standard_input(tmp_path):
    done = clean(python("-", stdin=textwrap.dedent(MAIN), cwd=tmp_path))
    assert done.stdout == "all well\n"


def test_dash_c(tmp_path):
    done = clean(python("-c", textwrap.dedent(MAIN), cwd=tmp_path))
    assert done.stdout == "all well\n"


def test_module(tmp_path):
    (tmp_path / "my_program.py").write_text(textwrap.dedent(MAIN))
    assert clean(python("-m", "my_program", cwd=tmp_path)).stdout == "all well\n"


def test_interactive(tmp_path):
    lines = [
        "import ergon",
        "pool = ergon.ProcessPool(2)",
        "def f(x): return x * 3",
        "",
        "pool.map(f, range(4))",
        "class A:",
        "    def __init__(self, x): self.x = x",
        "    def get(self): return f(self.x)",
        "",
        "pool.map(A.get, [A(1), A(2)])",
        "def f(x): return x * 5",
        "",
        "pool.map(A.get, [A(1), A(2)])",
        "pool.map(lambda x: f(x), [1])",
    ]
    done = python("-i", "-q", stdin="\n".join(lines) + "\n", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:4] == ["[0, 3, 6, 9]", "[3, 6]", "[5, 10]", "[5]"], done.stderr
    assert "Traceback" not in done.stderr


def test_exec_as_a_notebook_does(script):
    """Cells executed one by one in the namespace of `__main__`, with names that come and go."""
    done = script("""
        import ergon, sys
        import __main__
        cells = [
            "pool = ergon.ProcessPool(2)",
            "k = 2\\ndef f(x):\\n    return x * k",
            "first = pool.map(f, [1, 2])",
            "k = 3",
            "second = pool.map(f, [1, 2])",
            "class C:\\n    v = 1\\n    def m(self): return self.v",
            "third = pool.pipe(C().m)",
            "class C:\\n    v = 2\\n    def m(self): return self.v",
            "fourth = pool.pipe(C().m)",
        ]
        for number, cell in enumerate(cells):
            exec(compile(cell, f"<cell {number}>", "exec"), __main__.__dict__)
        print(first, second, third, fourth)
    """)
    assert clean(done).stdout == "[2, 4] [3, 6] 1 2\n"


def test_importable_module_beside_the_script(script, tmp_path):
    (tmp_path / "beside.py").write_text("import os\nVALUE = 5\ndef f(x):\n    return x * VALUE, os.getpid()\n")
    done = script("""
        import os, ergon, beside
        with ergon.ProcessPool(2) as pool:
            results = pool.map(beside.f, range(3))
        assert [r[0] for r in results] == [0, 5, 10]
        assert os.getpid() not in {r[1] for r in results}
    """)
    clean(done)


def test_path_added_by_the_program(script, tmp_path):
    """sys.path of the program counts in workers, also what was added after the pool was opened."""
    for name in ("early", "late"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}_module.py").write_text("def f(x):\n    return x + 1\n")
    done = script("""
        import sys, ergon
        sys.path.insert(0, "early")
        import early_module
        with ergon.ProcessPool(1) as pool:
            assert pool.pipe(early_module.f, 1) == 2
            sys.path.insert(0, "late")
            import late_module
            assert pool.pipe(late_module.f, 1) == 2
    """)
    clean(done)


def test_argv_of_the_program(script):
    done = script(
        """
        import sys, ergon
        with ergon.ProcessPool(1) as pool:
            print(sys.argv[1:], pool.pipe(lambda: sys.argv[1:]))
        """,
        "a",
        "b c",
    )
    assert clean(done).stdout == "['a', 'b c'] ['a', 'b c']\n"


def test_output_of_tasks_is_the_programs(script):
    done = script("""
        import sys, ergon
        with ergon.ProcessPool(1) as pool:
            pool.pipe(print, "to standard output")
            pool.pipe(lambda: print("to standard error", file=sys.stderr))
    """)
    assert done.stdout == "to standard output\n"
    assert done.stderr == "to standard error\n"


def test_task_that_reads_standard_input(script):
    """A task sees an empty standard input, and never takes the program's."""
    done = script(
        """
        import sys, ergon
        with ergon.ProcessPool(1) as pool:
            print(repr(pool.pipe(lambda: sys.stdin.read())), repr(sys.stdin.read()))
        """,
        stdin="for the program",
    )
    assert clean(done).stdout == "'' 'for the program'\n"


@pytest.mark.parametrize("flags", [("-O",), ("-X", "dev"), ("-W", "error"), ("-u",), ("-I",), ("-s", "-E")])
def test_interpreter_flags(script, flags):
    if os.environ.get("PYTHONPATH") and {"-I", "-E"} & set(flags):
        pytest.skip("this interpreter finds ergon through PYTHONPATH, which the flag has it ignore")
    done = script(
        """
        import sys, ergon
        with ergon.ProcessPool(1) as pool:
            theirs = pool.pipe(lambda: (sys.flags.optimize, sys.flags.isolated, __debug__))
            assert theirs == (sys.flags.optimize, sys.flags.isolated, __debug__), theirs
            print(pool.map(abs, [-1]))
        """,
        python=flags,
    )
    assert done.stdout == "[1]\n"


def test_environment_and_folder(script):
    done = script("""
        import os, ergon
        os.environ["SET_BEFORE"] = "1"
        with ergon.ProcessPool(1) as pool:
            assert pool.pipe(os.environ.get, "SET_BEFORE") == "1"
            assert pool.pipe(os.getcwd) == os.getcwd()
    """)
    clean(done)


def test_without_numpy(script):
    """Nothing of it is imported unless the program does."""
    done = script("""
        import sys, ergon
        with ergon.ProcessPool(1) as pool:
            pool.map(abs, range(10))
            assert "numpy" not in sys.modules and "multiprocessing" not in sys.modules
            assert not pool.pipe(lambda: "numpy" in sys.modules)
    """)
    clean(done)


def test_closed_standard_files(tmp_path):
    """As under a daemon: descriptors 0, 1 and 2 are closed."""
    path = tmp_path / "program.py"
    path.write_text(
        textwrap.dedent("""
        import ergon
        with ergon.ProcessPool(2) as pool:
            text = str(pool.map(abs, [-1, -2]))
        open("answer", "w").write(text)
    """)
    )
    command = f"exec {sys.executable} {path} 0<&- 1>&- 2>&-"
    assert subprocess.run(["sh", "-c", command], cwd=tmp_path, timeout=120).returncode == 0
    assert (tmp_path / "answer").read_text() == "[1, 2]"


def test_folder_that_is_gone(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    text = "import os, ergon\nos.rmdir(os.getcwd())\nprint(ergon.ProcessPool(1).map(abs, [-1]))\n"
    done = python("-c", text, cwd=folder)
    assert done.stdout == "[1]\n", done.stderr


def test_umask_and_user_files(script, tmp_path):
    done = script("""
        import os, ergon
        with ergon.ProcessPool(1) as pool:
            pool.pipe(open, "made", "w") if False else pool.pipe(lambda: open("made", "w").close())
    """)
    clean(done)
    assert os.path.exists(tmp_path / "made")


def test_many_threads_of_the_program(script):
    done = script("""
        import threading, ergon
        pool = ergon.ProcessPool(2)
        results = {}
        def work(i):
            results[i] = pool.map(lambda x: x * i, range(100))
        threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert results == {i: [x * i for x in range(100)] for i in range(16)}
        pool.close()
        pool.join()
    """)
    clean(done)


def test_signals_of_the_program_still_arrive(script):
    """A handler of the program runs while it waits for a pool."""
    done = script("""
        import signal, time, ergon
        seen = []
        signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        with ergon.ProcessPool(1) as pool:
            pool.pipe(time.sleep, 0.5)
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert seen, "no handler ran while the program waited"
    """)
    clean(done)


def test_handler_that_raises_ends_the_wait(script):
    done = script("""
        import signal, time, ergon
        class Alarm(Exception): pass
        def handler(*_): raise Alarm
        signal.signal(signal.SIGALRM, handler)
        with ergon.ProcessPool(1) as pool:
            for wait in (lambda: pool.pipe(time.sleep, 600), lambda: pool.map(time.sleep, [600]),
                         lambda: list(pool.imap(time.sleep, [600])), lambda: pool.apipe(time.sleep, 600).result()):
                signal.setitimer(signal.ITIMER_REAL, 0.1)
                try:
                    wait()
                except Alarm:
                    pass
                else:
                    raise AssertionError("no exception")
                pool.terminate(); pool.join(); pool.restart()
            assert pool.map(abs, [-1]) == [1]
    """)
    clean(done)
