"""Workers find the program's own modules, and `logging`, as the program had set them when the pool was opened."""

import os
import subprocess
import sys
import textwrap

import pytest

MODULES = {
    "conf": """
        DEBUG = False
        TABLE = {}
        SAME = TABLE
        SIZE = 3
        class Thing:
            limit = 1
            def who(self):
                return "thing"
        def orig():
            return "orig"
        def state():
            return DEBUG, dict(TABLE), SAME is TABLE, Thing.limit, orig(), Thing().who(), getattr(state, "calls", 0), SIZE
    """,
    "holder": "CURRENT = None",
    "app": """
        import threading
        import holder
        lock = threading.Lock()
        log = open(__file__)
        class Settings:
            def __init__(self, n):
                self.n = n
        def work(x):
            return x, holder.CURRENT and holder.CURRENT.n, lock.acquire(blocking=False), log.name
    """,
    "heavy": "ARRAY = None\ndef total():\n    return None if ARRAY is None else float(ARRAY.sum())",
    "kept": "import random\nGENERATOR = random.Random(5)\nGENERATOR.random()\ndef draw():\n    return GENERATOR.random()",
    "drawing": "from random import random\nfrom numpy.random import rand\ndef draw():\n    return random(), float(rand())",
    "parts/__init__": "from . import inner\nNAME = 'parts'",
    "parts/inner": "VALUE = 1\ndef value():\n    from . import NAME\n    return NAME, VALUE",
}


@pytest.fixture
def program(tmp_path):
    """Runs a program beside the modules above; what it printed, as lines."""
    (tmp_path / "parts").mkdir()
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))

    def run(text):
        script = tmp_path / "program.py"
        script.write_text(textwrap.dedent(text))
        done = subprocess.run(
            [sys.executable, script], capture_output=True, text=True, timeout=120, cwd=tmp_path, env=os.environ
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines(), done.stderr.splitlines()

    return run


def test_what_was_set_in_a_module(program):
    out, err = program("""
        import conf, ergon
        conf.DEBUG = True
        conf.TABLE["a"] = 1
        conf.Thing.limit = 99
        conf.Thing.who = lambda self: "another"
        conf.orig = lambda: "patched"
        conf.state.calls = 7
        with ergon.ProcessPool(2) as pool:
            print(pool.pipe(conf.state) == conf.state() == (True, {"a": 1}, True, 99, "patched", "another", 7, 3))
            print(pool.pipe(lambda: (conf.DEBUG, conf.TABLE)))
            conf.DEBUG = 5
            print(pool.pipe(conf.state)[0])     # as the pool was opened
            pool.close(), pool.join(), pool.restart()
            print(pool.pipe(conf.state)[0])
            conf.DEBUG = 6
            pool.clear()
            print(pool.pipe(conf.state)[0])
    """)
    assert out == ["True", "(True, {'a': 1})", "True", "5", "6"] and err == []


def test_values_of_modules_that_import_each_other(program):
    """conf's value is an instance of a class of the module that imports it, which is not there yet."""
    out, err = program("""
        import app, holder, ergon
        holder.CURRENT = app.Settings(7)
        app.lock.acquire()
        with ergon.Pool("local:1", "threads:1") as pool:
            print(pool.options(resources={"kind": "process"}).pipe(app.work, 1)[:3])
    """)
    assert out == ["(1, 7, True)"] and err == []  # a lock is the worker's own


def test_arrays_packages_and_generators(program):
    pytest.importorskip("numpy")
    out, err = program("""
        import ergon, heavy, kept, numpy as np, parts.inner
        heavy.ARRAY = np.ones(300_000)
        parts.NAME, parts.inner.VALUE = "others", 2
        with ergon.ProcessPool(1) as pool:
            print(pool.pipe(heavy.total), pool.pipe(parts.inner.value))
            print(pool.pipe(kept.draw) == kept.draw())
    """)
    assert out == ["300000.0 ('others', 2)", "True"] and err == []


def test_workers_that_come_later_find_the_same(program):
    out, err = program("""
        import conf, ergon, os
        conf.TABLE[1] = 2
        with ergon.ProcessPool(1) as pool:
            try:
                pool.pipe(os._exit, 3)
            except ergon.errors.WorkerLost:
                print(pool.pipe(conf.state)[1])
    """)
    assert out == ["{1: 2}"] and err == []


def test_logging(program, tmp_path):
    out, err = program("""
        import ergon, logging, sys
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s", stream=sys.stdout)
        logging.addLevelName(25, "NOTICE")
        logging.getLogger("quiet").setLevel(logging.ERROR)
        file = logging.FileHandler("own.log", mode="w")
        logging.getLogger("own").addHandler(file)
        logging.getLogger("own").warning("before")
        def task(x):
            logging.info("info %d", x), logging.debug("debug"), logging.getLogger("quiet").warning("quiet")
            logging.log(25, "noticed"), logging.getLogger("own").warning("own %d", x)
        with ergon.ProcessPool(1) as pool:
            pool.map(task, range(2))
        logging.getLogger("own").warning("after")
        sys.stdout.flush()
    """)
    task = ["INFO root info {}", "NOTICE root noticed", "WARNING own own {}"]
    expected = ["WARNING own before", *(line.format(x) for x in (0, 1) for line in task), "WARNING own after"]
    assert sorted(out) == sorted(expected) and err == []
    assert (tmp_path / "own.log").read_text().splitlines() == ["before", "own 0", "own 1", "after"]


def test_nothing_is_imported_in_vain(program):
    out, err = program("""
        import conf, ergon, sys
        with ergon.ProcessPool(1) as pool:
            print(pool.pipe(lambda: [name for name in ("conf", "logging") if name in __import__("sys").modules]))
    """)
    assert out == ["[]"] and err == []


def test_mutable_globals_stay_in_their_worker(program):
    out, err = program("""
        import ergon, random, time
        generator, seen, lists, table, value = random.Random(5), {}, [], {}, None
        def draw(i):
            return generator.random()
        def fill(key):
            lists.append(key)
            return seen.setdefault(key, len(seen)), len(lists)
        def both(key):
            return len(seen), generator.random()
        def begin(x):
            global value
            value = table["x"] = x
        def use(i):
            return value, table.get("x"), i
        with ergon.ProcessPool(1, initializer=begin, initargs=(7,)) as pool:
            own = random.Random(5)
            expected = [own.random() for _ in range(40)]
            print(pool.map(draw, range(20), chunksize=1) == expected[:20], pool.pipe(draw, 0) == expected[20])
            print(pool.pipe(both, 0) == (0, expected[21]))
            print([pool.pipe(fill, key) for key in "aba"], pool.pipe(both, 0)[0])
            seen["z"] = 1                                           # the caller's: it is sent as it is now
            print(pool.pipe(fill, "b"))
            generator.random()
            own = random.Random(5)
            own.random()
            print(pool.pipe(draw, 0) == own.random())
            print(pool.map(use, range(2)))
    """)
    assert err == []
    assert out == [
        "True True",
        "True",
        "[(0, 1), (1, 2), (0, 3)] 2",
        "(1, 4)",
        "True",
        "[(7, 7, 0), (7, 7, 1)]",
    ]


def test_closures_are_new_in_every_chunk(program):
    out, err = program("""
        import ergon
        def make():
            inside = []
            def add(i, default=[]):
                inside.append(i), default.append(i)
                return len(inside), len(default)
            return add
        with ergon.ProcessPool(1) as pool:
            print(pool.map(make(), range(3), chunksize=1))
    """)
    assert out == ["[(1, 1), (1, 1), (1, 1)]"] and err == []


def test_odd_things_in_modules_stay_there(program):
    out, _ = program("""
        import sys, types, ergon, conf
        class Lies:
            @property
            def __class__(self):
                raise RuntimeError("not set up")
        class Lazy(types.ModuleType):
            def __getattr__(self, name):
                raise ImportError(name)
        class Shy(types.ModuleType):
            def __getattribute__(self, name):
                raise ValueError(name)
        class Meta(type):
            def __getattribute__(cls, name):
                raise RuntimeError(name)
        class Nowhere:
            pass
        Nowhere.__module__ = 5
        sys.modules.update(lazy=Lazy("lazy"), shy=Shy("shy"), nothing=None, number=5)
        vars(conf)[5] = 6
        conf.LIES, conf.INSIDE, conf.META, conf.NOWHERE = Lies(), [Lies()], Meta("K", (), {}), Nowhere()
        conf.SIZE = 4
        if __name__ == "__main__":
            with ergon.ProcessPool(1) as pool:
                print(pool.submit(conf.state).result()[-1])
    """)
    assert out == ["4"]


IMPORTED = {
    "table": """
        NAMES, TEXTS, COUNT = [], {}, 0
        def add(name):
            global COUNT
            NAMES.append(name)
            COUNT += 1
        def once(name):
            if name in TEXTS:
                raise ValueError("twice: " + name)
            TEXTS[name] = "text"
        def seen():
            return NAMES, TEXTS, COUNT
    """,
    "adds": "import table\ntable.add('a')\ndef work():\n    return table.seen()",
    "adds_once": "import table\ntable.once('b')\ndef work():\n    return table.seen()",
    "logs": """
        import logging, sys
        class Own(logging.StreamHandler):
            def emit(self, record):
                print("own", record.getMessage(), flush=True)
        log = logging.getLogger("logs")
        log.setLevel("INFO")
        log.addHandler(logging.StreamHandler(sys.stdout))
        def work():
            log.info("info")
            logging.getLogger("other").warning("warning")
    """,
}


def test_what_imports_do_to_other_modules_is_not_done_twice(program, tmp_path):
    for name, text in IMPORTED.items():
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
    out, _ = program("""
        import ergon, adds, adds_once, table
        def late():
            import table
            table.NAMES.append("mine")
            import adds, adds_once
            return adds.work()
        if __name__ == "__main__":
            for work in (adds.work, adds_once.work, table.seen, late):
                with ergon.ProcessPool(1) as pool:
                    print(pool.submit(work).result())
    """)
    usual = "(['a'], {'b': 'text'}, 1)"
    assert out == [usual, usual, usual, "(['a', 'mine'], {'b': 'text'}, 1)"]


def test_handlers_that_modules_add_when_imported_are_there_once(program, tmp_path):
    (tmp_path / "logs.py").write_text(textwrap.dedent(IMPORTED["logs"]))
    out, _ = program("""
        import logging, ergon, logs
        logging.getLogger("other").addHandler(logs.Own())
        def late():
            import logging
            logging.getLogger("other").warning("before")
            import logs
            logs.work()
        if __name__ == "__main__":
            for work in (logs.work, late):
                with ergon.ProcessPool(1) as pool:
                    pool.submit(work).result()
    """)
    assert out == ["info", "own warning", "own before", "info", "own warning"]


def test_stand_ins_among_globals_are_not_asked_for_their_class(program, tmp_path):
    (tmp_path / "standing.py").write_text(
        "class StandIn:\n"
        "    @property\n"
        "    def __class__(self):\n"
        "        raise RuntimeError('not set up')\n"
        "    def __reduce_ex__(self, protocol):\n"
        "        return StandIn, ()\n"
        "    def __len__(self):\n"
        "        return 3\n"
    )
    out, _ = program("""
        import ergon, standing
        it = standing.StandIn()
        def work(x):
            return len(it) + x
        if __name__ == "__main__":
            with ergon.ProcessPool(1) as pool:
                print(pool.submit(work, 1).result())
    """)
    assert out == ["4"]


def test_what_loading_a_function_takes_makes_no_small_chunks(program):
    """A large global is loaded with every chunk: as many items go with it as if it were not there."""
    out, err = program("""
        import ergon
        table = {i: str(i) for i in range(100_000)}
        def look(i):
            return table[i]
        with ergon.ProcessPool(1) as pool, ergon.trace.record("trace.json"):
            assert pool.map(look, range(1000)) == [str(i) for i in range(1000)]
            print(len(ergon.trace.events()) < 60)
    """)
    assert out == ["True"] and err == []


def test_globals_that_decorated_functions_and_methods_use(program):
    out, err = program("""
        import ergon, functools, random
        generator, seen = random.Random(5), []
        def decorated(function):
            @functools.wraps(function)
            def inner(*args):
                return function(*args)
            return inner
        @decorated
        def draw(i):
            return generator.random()
        class Worker:
            def run(self, i):
                seen.append(i)
                return len(seen)
            def __call__(self, i):
                return generator.random()
            @classmethod
            def of_class(cls, i):
                return generator.random()
        def apply(function, i):
            return function(i)
        for function in (draw, Worker(), Worker.of_class, functools.partial(apply, draw), lambda i: draw(i)):
            own = random.Random(5)
            with ergon.ProcessPool(1) as pool:
                drawn = pool.map(function, range(10), chunksize=1) + [pool.pipe(function, 0)]
                assert drawn == [own.random() for _ in range(11)], (function, drawn)
        with ergon.ProcessPool(1) as pool:
            print(pool.map(Worker().run, range(3), chunksize=1), pool.map(Worker().run, range(3), chunksize=1))
    """)
    assert out == ["[1, 2, 3] [4, 5, 6]"] and err == []


def test_attributes_that_an_initializer_sets(program):
    out, err = program("""
        import ergon
        class Model:
            weights = None
            @classmethod
            def load(cls, weights):
                cls.weights = weights
            def use(self, i):
                return self.weights
        class Other:
            extra = "no"
        def begin():
            Model.load(5)
            Other.extra = "set"
            push.flag = 1
        def push(i):
            return getattr(push, "flag", 0), Other.extra, Model.weights
        def use(i):
            return Model().use(i)
        for initializer, args in ((begin, ()), (Model.load, (5,))):
            with ergon.ProcessPool(1, initializer=initializer, initargs=args) as pool:
                print(pool.map(use, range(2)), pool.map(Model().use, range(2)), pool.pipe(push, 0), pool.pipe(use, 0))
    """)
    assert err == []
    assert out == ["[5, 5] [5, 5] (1, 'set', 5) 5", "[5, 5] [5, 5] (0, 'no', 5) 5"]


def test_what_counts_as_data(program):
    out, err = program("""
        import conf, ergon, pathlib, random, sys, threading
        conf.TABLE.update(z=3, out=pathlib.Path("x"), generator=random.Random(77), lock=threading.Lock())
        conf.generator = random.Random(77)
        def look(i):
            table = conf.TABLE
            return table["z"], table["out"].name, table["generator"].random(), conf.generator.random(), table["lock"].locked()
        own = random.Random(77)
        number = own.random()
        with ergon.ProcessPool(1) as pool:
            print(pool.pipe(look, 0) == (3, "x", number, number, False))
    """)
    assert out == ["True"] and err == []


def test_functions_of_random_draw_from_the_generator_of_each_worker(program):
    """Also where a module, or the main program, has taken them from `random` by name."""
    numpy = pytest.importorskip("numpy")
    assert numpy
    out, err = program("""
        from random import random, randint
        import drawing, ergon, pathlib, numpy.random as nr
        from numpy.random import rand
        def draw(i):
            return random(), randint(0, 1 << 60), float(rand()), *drawing.draw()
        with ergon.ProcessPool(2) as pool:
            drawn = pool.map(draw, range(20), chunksize=1) + [pool.pipe(draw, 0)]
            print([len(set(column)) for column in zip(*drawn)])
    """)
    assert out == ["[21, 21, 21, 21, 21]"] and err == []


def test_mutable_attributes_of_classes_stay_in_their_worker(program):
    out, err = program("""
        import ergon, random
        class Walk:
            generator, seen, limit = random.Random(5), [], 3
            def step(self, i):
                self.seen.append(i)
                return self.generator.random(), len(self.seen), self.limit
        def task(i):
            return Walk().step(i)
        own = random.Random(5)
        with ergon.ProcessPool(1) as pool:
            got = pool.map(task, range(5), chunksize=1) + pool.map(Walk().step, range(5), chunksize=1) + [pool.pipe(task, 0)]
            print(got == [(own.random(), i + 1, 3) for i in range(11)])
            Walk.seen.append("caller"), setattr(Walk, "limit", 4)
            print(pool.pipe(task, 0)[1:])
    """)
    assert out == ["True", "(2, 4)"] and err == []
