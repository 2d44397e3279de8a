"""Packages that are built on dill, on the alias: klepto's own tests, the pools of multiprocess, joblib's."""

import os
import subprocess
import sys
import textwrap

import pytest
from ergon.aliases import folder

pytestmark = pytest.mark.slow

PACKAGES = {"klepto": "0.2.8", "pox": "0.3.7", "multiprocess": "0.70.19", "joblib": "1.5.2"}


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
