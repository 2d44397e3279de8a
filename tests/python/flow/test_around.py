"""What functionals see besides their arguments: workers have to see what the program would. Each case is run plainly and scheduled,
in processes of their own, and has to print the same."""

import os
import subprocess
import sys
import textwrap
import types

import ergon
import pytest
from ergon import _around, _core
from ergon.errors import TaskInterrupted

_BEGIN = """
import os, sys, ergon
from ergon import functional, schedule, _core, _schedule
PLAIN = bool(os.environ.get("PLAIN"))
if PLAIN:
    _core._flow_enable(False)
ergon.configure(workers=[{"type": "multicore", "cores": 2}])
"""
_END = """
if not PLAIN:
    assert _schedule.stats()["entered"] > 0, "nothing was run ahead"
ergon.shutdown()
"""


def _run(folder, plain):
    environ = {k: v for k, v in os.environ.items() if k != "PLAIN"} | ({"PLAIN": "1"} if plain else {})
    done = subprocess.run(
        [sys.executable, "main.py"], cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


# name: ({file: source}, main program)
CASES = {
    "a helper that a lambda closes over reads a name": (
        {"mod": "N = 5\ndef helper(x):\n    return x + N\n"},
        """
        import mod

        @functional
        def call(g, x):
            return g(x)

        @schedule
        def run():
            h = mod.helper
            return [call(lambda x, h=h: h(x), i) for i in range(4)] + [call(lambda x: h(x), i) for i in range(4)]

        print(run())
        mod.N = 6
        print(run())
        """,
    ),
    "a name of a module is set between calls": (
        {"mod": "import time\nN = 5\ndef f(x):\n    time.sleep(0.002)\n    return x + N\n"},
        """
        import mod
        f = functional(mod.f)

        @schedule
        def run():
            return [f(i) for i in range(6)]

        print(run())
        mod.N = 6
        print(run())
        mod.N = 5
        print(run())
        """,
    ),
    "a name of a module is set before the first call": (
        {
            "config": "N = 5\nTABLE = {}\n",
            "mod": "import config\ndef f(x):\n    return x + config.N + len(config.TABLE)\n",
        },
        """
        import config, mod
        config.N = 50
        config.TABLE["a"] = 1
        f = functional(mod.f)

        @schedule
        def run():
            return [f(i) for i in range(6)]

        print(run())
        config.TABLE["b"] = 1
        print(run())
        config.TABLE = {}
        print(run())
        """,
    ),
    "a name is set inside the scheduled function": (
        {"mod": "import time\nN = 5\ndef f(x):\n    time.sleep(0.002)\n    return x + N\n"},
        """
        import mod
        f = functional(mod.f)

        @schedule
        def run():
            out = []
            for i in range(8):
                mod.N = i // 3
                out.append(f(i))
            return out

        print(run(), run())
        """,
    ),
    "one level deeper": (
        {
            "deep": "import os.path\nN = 1\nclass Conf:\n    scale = 2\n    def times(self, x):\n        return x * self.scale\nCONF = Conf()\n"
            "def inner(x, more=[]):\n    return (x + N + CONF.times(x), list(more))\n",
            "mod": "from deep import inner\ndef f(x):\n    return inner(x)\n",
        },
        """
        import deep, mod

        @functional
        def f(x):
            return mod.f(x)

        @schedule
        def run():
            return [f(i) for i in range(4)]

        print(run())
        deep.N = 10
        print(run())
        deep.Conf.scale = 3
        print(run())
        deep.CONF.scale = 4
        print(run())
        deep.CONF = deep.Conf()
        print(run())
        deep.inner.__defaults__[0].append("x")
        print(run())
        deep.inner.__defaults__ = (("new",),)
        print(run())
        """,
    ),
    "patched functions": (
        {
            "mod": "import json\ndef helper(x):\n    return x\ndef f(x):\n    return helper(x), json.dumps(x), len([x])\n"
        },
        """
        import builtins, json, mod
        f = functional(mod.f)

        @schedule
        def run():
            return [f(i) for i in range(3)]

        print(run())
        mod.helper = lambda x: -x
        print(run())
        own = json.dumps
        json.dumps = lambda x: "patched"
        print(run())
        json.dumps = own
        print(run())
        builtin = len
        builtins.len = lambda x: 77
        print(run())
        builtins.len = builtin
        print(run())
        """,
    ),
    "methods and class attributes": (
        {
            "shapes": "SCALE = 2\nclass Shape:\n    unit = 1\n    def __init__(self, n):\n        self.n = n\n"
            "    def area(self):\n        return self.n * SCALE * self.unit\n",
        },
        """
        import shapes

        @functional
        def f(shape):
            return shape.area()

        @schedule
        def run(shapes):
            return [f(s) for s in shapes]

        all_of_them = [shapes.Shape(i) for i in range(4)]
        print(run(all_of_them))
        shapes.SCALE = 3
        print(run(all_of_them))
        shapes.Shape.unit = 10
        print(run(all_of_them))
        shapes.Shape.area = lambda self: "patched"
        print(run(all_of_them))
        """,
    ),
    "the process": (
        {
            "mod": "import os, sys, warnings, decimal\ndef f(x):\n"
            "    try:\n        warnings.warn('w', UserWarning)\n        said = 'said'\n    except UserWarning:\n        said = 'raised'\n"
            "    return (os.path.basename(os.getcwd()), os.environ.get('WHAT'), sys.getrecursionlimit(), said,\n"
            "            str(decimal.Decimal(x) / 7))\n"
        },
        """
        import decimal, mod, sys, warnings
        f = functional(mod.f)
        warnings.simplefilter("ignore")

        @schedule
        def run():
            return [f(i) for i in range(3)]

        print(run())
        os.makedirs("there", exist_ok=True)
        os.chdir("there")
        os.environ["WHAT"] = "set"
        sys.setrecursionlimit(2345)
        print(run())
        os.chdir("..")
        del os.environ["WHAT"]
        sys.setrecursionlimit(1000)
        print(run())
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            print(run())
        print(run())
        decimal.getcontext().prec = 6
        print(run())
        with decimal.localcontext() as context:
            context.prec = 3
            print(run())
        decimal.getcontext().prec = 28
        print(run())

        @schedule
        def changing():
            out = []
            for i in range(6):
                with decimal.localcontext() as context:
                    context.prec = 3 + i
                    os.environ["WHAT"] = str(i)
                    out.append(f(i))
            return out

        print(changing())
        """,
    ),
    "what is set for NumPy": (
        {
            "mod": "import numpy\ndef f(x):\n    try:\n        return str(numpy.array([1.0, x / 3]) / numpy.float64(0.0) + numpy.pi)\n"
            "    except FloatingPointError as error:\n        return str(error)\n"
        },
        """
        import numpy, mod
        f = functional(mod.f)

        @schedule
        def run():
            return [f(i) for i in range(1, 4)]

        numpy.seterr(all="ignore")
        print(run())
        with numpy.errstate(divide="raise"):
            print(run())
        print(run())
        numpy.set_printoptions(precision=2)
        print(run())
        """,
    ),
    "context variables": (
        {"mod": "import contextvars\nV = contextvars.ContextVar('V', default=0)\ndef f(x):\n    return x, V.get()\n"},
        """
        import mod
        f = functional(mod.f)

        @schedule
        def run():
            return [f(i) for i in range(3)]

        print(run())
        mod.V.set(7)
        print(run())
        """,
    ),
    "context variables of the main program": (
        {
            "cvm": "import contextvars\nCW = contextvars.ContextVar('CW', default=-1)\n",
            "mod": "from cvm import CW\ndef by_module(x):\n    return x, CW.get()\n",
        },
        """
        import contextvars, mod
        from cvm import CW

        CV = contextvars.ContextVar("CV", default=-1)
        get = CV.get

        def helper():
            return CV.get()

        class Reader:
            def read(self):
                return CV.get()

        def closed():
            var = CV
            return functional(lambda x: (x, var.get()))

        @functional
        def by_name(x):
            return x, CV.get()

        @functional
        def imported(x):
            return x, CW.get()

        @functional
        def by_default(x, var=CV):
            return x, var.get()

        @functional
        def by_helper(x):
            return x, helper()

        @functional
        def by_method(x):
            return x, Reader().read()

        @functional
        def by_bound(x):
            return x, get()

        @functional
        def by_argument(x, var=None):
            return x, var.get() if var is not None else None

        by_cell, by_module = closed(), functional(mod.by_module)
        ALL = [by_name, imported, by_default, by_helper, by_method, by_bound, by_cell, by_module]

        @schedule
        def run(f, *more):
            out = []
            for i in range(3):
                CV.set(i)
                CW.set(10 * i)
                out.append(f(i, *more))
            return out

        @schedule
        def only(f, *more):
            return [f(i, *more) for i in range(3)]

        @schedule
        def mixed():
            out = []
            for i in range(3):
                CW.set(i)
                out.append((imported(i), by_module(i)))
                CW.set(-i)
                out.append((by_module(i), imported(i)))
            return out

        for f in ALL:
            print(run(f))
            token = CV.set(50), CW.set(60)
            print(only(f))
            CV.reset(token[0])
            CW.reset(token[1])
            print(only(f))
            print(contextvars.Context().run(only, f))
        print(run(by_argument, CV), only(by_argument, CV))
        print(mixed())
        """,
    ),
    "context variables that workers cannot have": (
        {
            "mod": "import contextvars\nTABLE = {'a': contextvars.ContextVar('nameless', default=-1)}\n"
            "VALUE = contextvars.ContextVar('VALUE', default=None)\n"
            "def f(x):\n    return x, TABLE['a'].get()\n"
            "def g(x):\n    return x, VALUE.get() is not None\n"
        },
        """
        import mod, threading
        f, g = functional(mod.f), functional(mod.g)

        @schedule
        def run(f):
            return [f(i) for i in range(3)]

        print(run(f), run(g))
        mod.TABLE["a"].set(4)
        token = mod.VALUE.set(threading.Lock())
        print(run(f), run(g))
        mod.VALUE.reset(token)
        print(run(g))
        """,
    ),
    "names that go and names that come": (
        {
            "mod": "A = 1\ndef f(x):\n    try:\n        return x + A\n    except NameError as error:\n        return str(error)\n"
            "def g(x):\n    return globals_of(x)\n"
        },
        """
        import mod
        f, g = functional(mod.f), functional(mod.g)

        @schedule
        def run(f):
            return [f(i) for i in range(3)]

        print(run(f))
        del mod.A
        print(run(f))
        mod.A = 9
        print(run(f))
        mod.globals_of = lambda x: "it came"
        print(run(g))
        """,
    ),
    "objects keep being the same": (
        {
            "base": "MISSING = object()\nREGISTRY = {}\nCONF = type('Namespace', (), {})()\nCONF.n = 1\n",
            "mod": "from base import MISSING, REGISTRY, CONF\nimport base\ndef f(x, d=MISSING):\n"
            "    return x, d is MISSING, d is base.MISSING, REGISTRY is base.REGISTRY, sorted(REGISTRY), CONF is base.CONF\n",
        },
        """
        import base, mod
        f = functional(mod.f)

        @schedule
        def run():
            return [f(i) for i in range(3)]

        print(run())
        base.REGISTRY["x"] = 1
        print(run())
        base.REGISTRY = {"other": 2}
        print(run())
        """,
    ),
    "nothing is kept alive": (
        {"mod": "class Big:\n    pass\nBIG = Big()\ndef f(x):\n    return x, BIG is not None\n"},
        """
        import mod, weakref
        weakref.finalize(mod.BIG, print, "gone")
        f = functional(mod.f)

        @schedule
        def run():
            return [f(i) for i in range(3)]

        print(run())
        mod.BIG = None
        print("set")
        print(run())
        """,
    ),
    "exceptions": (
        {"mod": "N = 1\ndef f(x):\n    if x == N:\n        raise ValueError(x)\n    return x\n"},
        """
        import mod, traceback
        f = functional(mod.f)

        @schedule
        def run():
            return [f(i) for i in range(3)]

        for mod.N in (2, 0):
            try:
                run()
            except ValueError as error:
                lines = traceback.extract_tb(error.__traceback__)
                print(error, [(os.path.basename(line.filename), line.lineno, line.name) for line in lines[-2:]])
        """,
    ),
    "results that are the module's": (
        {"mod": "TABLE = {'a': [1]}\ndef f(x):\n    return TABLE, TABLE['a']\n"},
        """
        import mod
        f = functional(mod.f)

        @schedule
        def run():
            return [f(i) for i in range(3)]

        found = run()
        print(all(t is mod.TABLE and a is mod.TABLE["a"] for t, a in found))
        mod.TABLE["a"].append(2)
        found = run()
        print(all(t is mod.TABLE and a is mod.TABLE["a"] for t, a in found), found)
        """,
    ),
    "attributes of functions and functionals": (
        {
            "mod": "from ergon import functional\ndef helper(x):\n    return x + helper.n\nhelper.n = 1\n"
            "@functional\ndef f(x):\n    return helper(x), f.n\nf.n = 1\n"
        },
        """
        import mod

        @functional
        def h(x):
            return x + h.n, getattr(mod.helper, "m", None)

        h.n = 1

        @schedule
        def run():
            out = []
            for i in range(4):
                h.n = mod.f.n = i
                mod.helper.n = 10 * i
                mod.helper.m = -i
                out.append((mod.f(1), h(1)))
            return out

        print(run())
        """,
    ),
    "a tracer sees every line": (
        {},
        """
        @functional
        def f(x):
            y = x + 1
            return y

        @schedule
        def run():
            return [f(i) for i in range(3)]

        print(run())
        seen = []

        def trace(frame, event, arg):
            if frame.f_code.co_filename == __file__:
                seen.append((event, frame.f_lineno))
                return trace

        sys.settrace(trace)
        run()
        sys.settrace(None)
        print(seen)

        @functional
        async def later(x):
            return x + 1

        @schedule
        def waits():
            return [later(i) + 1 for i in range(3)]

        sys.settrace(trace)
        found = [2, 3, 4] if PLAIN else waits()
        sys.settrace(None)
        print(found)
        """,
    ),
    "results that are read-only": (
        {
            "mod": "import numpy\ndef f(n):\n    a = numpy.arange(n)\n    a.flags.writeable = n % 2 == 0\n    return a, [a]\n"
        },
        """
        import mod
        f = functional(mod.f)

        @schedule
        def run():
            return [f(n) for n in (4, 5, 50_000, 50_001, 1_000_000, 1_000_001)]

        print([(a.flags.writeable, a is b[0]) for a, b in run()])
        """,
    ),
    "async functionals": (
        {},
        """
        import asyncio
        seen, G = [], [0]

        @functional
        async def f(x):
            await asyncio.sleep(0.001)
            return x + len(seen) + G[0]

        @schedule
        async def run():
            out = []
            for i in range(5):
                seen.append(i)
                G[0] += 10
                out.append(await f(i))
            return out

        print(asyncio.run(run()))
        """,
    ),
    "large things": (
        {"mod": "TABLE = list(range(100_000))\ndef f(x):\n    return x, TABLE[500], len(TABLE)\n"},
        """
        import mod
        f = functional(mod.f)

        @schedule
        def run():
            return [f(i) for i in range(3)]

        print(run())
        mod.TABLE[500] = "changed"
        print(run())
        """,
    ),
    "functions as arguments that hold much": (
        {"mod": "N = 1\ndef f(g, x):\n    return len(g()), x + N\n"},
        """
        import mod
        f = functional(mod.f)
        data = [[[j] for j in range(200)] for _ in range(200)]

        @schedule
        def run():
            held = list(data)
            return [f(lambda: held, i) for i in range(3)]

        print(run())
        mod.N = 5
        print(run())
        """,
    ),
    "threads that see different things": (
        {
            "mod": "import contextvars, decimal, time\n"
            "VAR = contextvars.ContextVar('VAR')\n"
            "def f(x):\n    time.sleep(0.001)\n    return VAR.get(), decimal.getcontext().prec, x\n"
        },
        """
        import decimal, mod, threading
        f = functional(mod.f)
        found = {10: set(), 20: set()}
        sys.setswitchinterval(1e-5)

        @schedule
        def run(k):
            return [f(k + i) for i in range(6)]

        def work(k):
            mod.VAR.set(k)
            decimal.getcontext().prec = k
            for i in range(100):
                found[k].update(run(k * 1000 + i))

        threads = [threading.Thread(target=work, args=(k,)) for k in found]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print({k: sorted(v) for k, v in found.items()})
        """,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_workers_see_what_the_program_sees(name, tmp_path):
    modules, main = CASES[name]
    for module, source in modules.items():
        (tmp_path / f"{module}.py").write_text(source)
    (tmp_path / "main.py").write_text(_BEGIN + textwrap.dedent(main) + _END)
    plain = _run(tmp_path, True)
    assert plain and _run(tmp_path, False) == plain


def test_what_an_interruption_left_half_set_is_set_again(monkeypatch):
    for name, value in {"_applied": {}, "_own": {}, "_now": None}.items():
        monkeypatch.setattr(_around, name, value)
    module = types.ModuleType("ergon_test_half")
    module.TABLE = {}
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def state(value):
        place = (module.__name__, "", "TABLE", _core.digest(value, size=16))
        return (place[3], b"", (place,), ergon.dumps([value]))

    one, other = state({1: "one"}), state({2: "other"})
    _around.call(one, len, [])
    assert module.TABLE == {1: "one"}

    def interrupted(now, value):
        now.clear()
        raise TaskInterrupted

    with monkeypatch.context() as patch:
        patch.setattr(_around, "_become", interrupted)
        with pytest.raises(TaskInterrupted):
            _around.call(other, len, [])
    _around.call(one, len, [])
    assert module.TABLE == {1: "one"}


def test_what_is_as_it_was_is_not_made_again(monkeypatch):
    """Finding that out takes a microsecond a call; making it anew takes many."""
    import decimal

    made = []

    def counted(*args, make=_around.make):
        made.append(args)
        return make(*args)

    monkeypatch.setattr(_around, "make", counted)
    ergon.configure(workers=[{"type": "multicore", "cores": 2}])
    square = ergon.functional(lambda x: x * decimal.Decimal(x))
    square._remote_only = 1

    @ergon.schedule
    def main():
        with decimal.localcontext() as context:
            context.prec = 5
            few = [square(i) for i in range(100)]
            context.prec = 2
            fewer = [square(i) for i in range(100)]
            context.traps[decimal.Inexact] = True
            return few[99], fewer[9], square(3)

    assert main() == (9801, 81, 9)
    assert 1 <= len(made) < 20
    ergon.shutdown()


def test_functions_among_arguments_are_not_kept():
    """Nor is it made again for each of them."""
    import gc
    import weakref

    class Large:
        pass

    made, alive = [], weakref.WeakSet()

    def counted(*args, make=_around.make):
        made.append(args)
        return make(*args)

    ergon.configure(workers=[{"type": "multicore", "cores": 2}])
    apply = ergon.functional(lambda g, x: g(x))
    apply._remote_only = 1

    @ergon.schedule
    def main():
        found = []
        for i in range(50):
            one = Large()
            alive.add(one)
            found.append(apply(lambda x, i=i: (x + i, one is None), 1))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_around, "make", counted)
        assert main() == [(i + 1, False) for i in range(50)]
    assert 1 <= len(made) < 20
    made.clear()
    ergon.shutdown()
    gc.collect()
    assert len(alive) <= 2


LARGE = """
import os, sys, threading, time
from ergon import functional, schedule

def factory(data):
    @functional
    def first(marker):
        if marker:
            open(marker, "w").close()
        time.sleep(0.05)
        return data[0]
    return first

@functional
def slow(gate):
    until = time.monotonic() + 20
    while gate and not os.path.exists(gate) and time.monotonic() < until:
        time.sleep(0.01)

@schedule
def run(first, marker, gate):
    slow(gate)
    return first(marker)

data, marker, gate = bytearray(100_000), sys.argv[1], sys.argv[2]
first = factory(data)
print(run(first, "", ""), run(first, "", ""))

def change():
    until = time.monotonic() + 10
    while not os.path.exists(marker) and time.monotonic() < until:
        time.sleep(0.01)
    data[0] = 5
    open(gate, "w").close()

other = threading.Thread(target=change)
other.start()
print(run(first, marker, gate))
other.join()
"""


def test_large_buffers_in_functions_count(tmp_path):
    """What was run ahead of with other contents is not taken for the call."""
    script = tmp_path / "program.py"
    script.write_text(LARGE)
    done = subprocess.run(
        [sys.executable, script, tmp_path / "marker", tmp_path / "gate"], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == ["0", "0", "5"], done.stderr
