"""Packages that are built on dill, on the alias: klepto's own tests, the pools of multiprocess, joblib's."""

import json
import os
import subprocess
import sys
import textwrap

import pytest
from ergon.aliases import folder

pytestmark = pytest.mark.slow

PACKAGES = {"klepto": "0.2.8", "pox": "0.3.7", "multiprocess": "0.70.19", "joblib": "1.5.2", "datasets": "4.4.1"}


@pytest.fixture
def run(peer_package, tmp_path):
    """run(package, *command): with the alias dill alone from the alias folder, and these packages, on the path."""
    alias = tmp_path / "alias"
    alias.mkdir()
    (alias / "dill").symlink_to(os.path.join(folder(), "dill"))

    def start(packages, *command, where=tmp_path):
        path = [str(alias), *(str(peer_package(name, PACKAGES[name])) for name in packages)]
        return subprocess.run(
            [sys.executable, *command],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            cwd=where,
        )

    return start


def program(tmp_path, text):
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(text))
    return str(path)


@pytest.mark.full
def test_kleptos_own_tests(run, peer_package, tmp_path):
    tests = sorted((peer_package("klepto", PACKAGES["klepto"]) / "klepto" / "tests").glob("test_*.py"))
    assert len(tests) == 17
    for test in tests:
        copied = tmp_path / test.name
        copied.write_text(test.read_text())
        done = run(["klepto", "pox"], str(copied))
        assert done.returncode == 0, f"{test.name}: {done.stdout}{done.stderr}"


def test_klepto_archives(run, tmp_path):
    path = program(
        tmp_path,
        """
        import dill, klepto
        from klepto.archives import dir_archive, file_archive
        assert dill.__author__ == "the Ergon developers"
        base = 3

        for archive in (dir_archive("kept", serialized=True), file_archive("kept.pkl", serialized=True)):
            archive["f"] = lambda x: x + base
            archive["data"] = [1, {"a": 2}]
            archive.dump()
            archive.clear()
            archive.load()
            assert archive["f"](1) == 4 and archive["data"] == [1, {"a": 2}]

        @klepto.inf_cache(keymap=klepto.keymaps.picklemap(serializer="dill"))
        def double(x): return 2 * x
        assert double(3) == double(3) == 6 and double.info().hit == 1
        print("DONE")
        """,
    )
    done = run(["klepto", "pox"], path)
    assert done.stdout == "DONE\n", done.stderr


def test_pools_of_multiprocess(run, tmp_path):
    path = program(
        tmp_path,
        """
        import dill, multiprocess, os
        base = 3

        class Thing:
            def __init__(self, x): self.x = x
            def get(self): return self.x + base

        def main():
            double = lambda x: x * base
            for how in ("fork", "spawn", "forkserver"):
                context = multiprocess.get_context(how)
                with context.Pool(2) as pool:
                    assert pool.map(double, range(5)) == [0, 3, 6, 9, 12]
                    assert pool.apply(Thing(2).get) == 5
                    assert pool.apply(lambda: Thing(1)).get() == 4
                queue = context.Queue()
                process = context.Process(target=lambda q: q.put(lambda: base), args=(queue,))
                process.start()
                assert queue.get()() == 3
                process.join()
                with context.Manager() as manager:
                    kept = manager.dict()
                    kept["f"] = double
                    assert kept["f"](2) == 6
            assert issubclass(multiprocess.reduction.ForkingPickler, dill.Pickler)
            print("DONE")

        if __name__ == "__main__":
            main()
        """,
    )
    done = run(["multiprocess"], path)
    assert done.stdout == "DONE\n", done.stderr


def test_joblib_with_dill_as_its_pickler(run, tmp_path):
    path = program(
        tmp_path,
        """
        import dill
        from joblib import Parallel, delayed
        from joblib.externals.loky import get_reusable_executor, set_loky_pickler
        set_loky_pickler("dill")

        class Thing:
            def method(self, x): return x + 1

        if __name__ == "__main__":
            assert Parallel(n_jobs=2)(delayed(lambda x: x * 2)(n) for n in range(4)) == [0, 2, 4, 6]
            assert Parallel(n_jobs=2)(delayed(Thing().method)(n) for n in range(4)) == [1, 2, 3, 4]
            get_reusable_executor().shutdown()
            print("DONE")
        """,
    )
    done = run(["joblib"], path)
    assert done.stdout == "DONE\n", done.stderr


# The pickler of Hugging Face's datasets, which names what a transformation is by a hash of its pickle: the module alone, because
# the package wants much that has nothing to do with it.
DATASETS = """
    import collections, dataclasses, functools, hashlib, importlib.util, json, operator, re, sys, types, warnings
    import dill
    from packaging import version

    package, where = sys.argv[1:3]
    for name in ("datasets", "datasets.utils", "datasets.config", "datasets.fingerprint"):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = []
    sys.modules["datasets"].config = sys.modules["datasets.config"]
    sys.modules["datasets.config"].DILL_VERSION = version.parse("0.4.0")
    spec = importlib.util.spec_from_file_location("datasets.utils._dill", package + "/datasets/utils/_dill.py")
    module = sys.modules["datasets.utils._dill"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    dumps = module.dumps

    class Hasher:
        hash = staticmethod(lambda obj: hashlib.sha256(dumps(obj)).hexdigest())

    sys.modules["datasets.fingerprint"].Hasher = Hasher
    same = lambda one, other: Hasher.hash(one) == Hasher.hash(other)
    place = lambda text, file: eval(compile(text, file, "eval"), globals())

    used, unused, words = 3, 4, {"b", "a", "c"}

    def add(x, y=2): return x + y + used

    def outer(n, store=[]):
        cache = {"n": n}
        def inner(x): return cache["n"] + x + add(x)
        return inner

    def count(n): return 0 if n == 0 else 1 + count(n - 1)

    class Model:
        names = ["a"]
        def __init__(self, n): self.n = n
        def __call__(self, x): return self.n * x + used
        @property
        def double(self): return 2 * self.n
        @classmethod
        def make(cls): return cls(2)

    class Special(Model):
        def __call__(self, x): return super().__call__(x) + 1

    @dataclasses.dataclass
    class Options:
        size: int = 3
        names: list = dataclasses.field(default_factory=list)

    Pair = collections.namedtuple("Pair", "x y")
    things = {
        "function": add, "lambda": lambda x: x in words, "closure": outer(3), "recursive": count, "instance": Model(3), "bound": Model(4).__call__,
        "derived": Special(5), "class": Model, "derived class": Special, "partial": functools.partial(add, y=5), "pattern": re.compile("a+"),
        "options": Options(4, ["x"]), "dict": {"b": 1, "a": {3, 1, 2}}, "mixed": {1: "a", "b": 2, None: 3}, "sets": {frozenset({1}), 1, "a"},
        "getter": operator.itemgetter(1, 2), "nested": [lambda: outer, {"x": (add, Model)}], "pair": Pair, "pairs": [Pair(1, 2)],
        "cached": functools.lru_cache(add), "module": json, "property": Model.double, "made": Model.make,
    }
    hashes, wrong = {}, []
    for name, thing in things.items():
        try:
            hashes[name] = Hasher.hash(thing)
        except Exception as error:
            wrong.append((name, repr(error)))
            continue
        if Hasher.hash(thing) != hashes[name]:
            wrong.append((name, "differs the second time"))

    facts = {}
    facts["lambdas of different places"] = same(place("lambda x: x + used", "<one>"), place("lambda x: x + used", "<other>"))
    facts["lambdas that differ"] = not same(place("lambda x: x + used", "<one>"), place("lambda x: x - used", "<one>"))
    facts["order of dicts"] = same({"a": 1, "b": 2}, {"b": 2, "a": 1}) and same({1: 1, "b": 2}, {"b": 2, 1: 1})
    facts["equal texts that are two"] = same(["ab" * 3, "ab" * 3], ["".join(["abab", "ab"]), "ababab"])
    before = Hasher.hash(add), Hasher.hash(outer(3)), Hasher.hash(Model(3))
    unused = 5
    facts["other globals do not count"] = before == (Hasher.hash(add), Hasher.hash(outer(3)), Hasher.hash(Model(3)))
    used = 4
    facts["globals count"] = all(one != other for one, other in zip(before, (Hasher.hash(add), Hasher.hash(outer(3)), Hasher.hash(Model(3)))))
    used = 3
    facts["they load"] = (dill.loads(dumps(add))(1), dill.loads(dumps(outer(3)))(1), dill.loads(dumps(Special(5)))(2)) == (6, 10, 14)
    facts["closures that refer to themselves"] = dill.loads(dumps(count))(5) == 5
    print(json.dumps({"hashes": hashes, "wrong": wrong, "facts": facts, "file": dill.__file__}))
"""


def test_the_pickler_of_datasets(run, peer_package, tmp_path):
    """What holds of hashes with dill holds with the alias: in one process, and in another with other hash seeds."""
    path = program(tmp_path, DATASETS)
    package = str(peer_package("datasets", PACKAGES["datasets"]))
    found = {}
    for where in ("alias", "dill"):
        for seed in ("1", "2"):
            environment = {**os.environ, "PYTHONHASHSEED": seed}
            environment["PYTHONPATH"] = str(tmp_path / "alias" if where == "alias" else peer_package("dill", "0.4.0"))
            done = subprocess.run(
                [sys.executable, path, package, where], capture_output=True, text=True, timeout=60, env=environment
            )
            assert done.returncode == 0, done.stderr
            found[where, seed] = json.loads(done.stdout)
    for seed in ("1", "2"):
        mine, theirs = found["alias", seed], found["dill", seed]
        assert "alias" in mine["file"] and "dill-0.4.0" in theirs["file"]
        assert {name for name, _ in mine["wrong"]} <= {name for name, _ in theirs["wrong"]}, mine["wrong"]
        failed = {name for name, holds in mine["facts"].items() if not holds}
        assert failed <= {name for name, holds in theirs["facts"].items() if not holds}
    differs = {
        where: {
            name for name, text in found[where, "1"]["hashes"].items() if found[where, "2"]["hashes"].get(name) != text
        }
        for where in ("alias", "dill")
    }
    assert differs["alias"] <= differs["dill"]
