"""pathos's own tests, unmodified, on the alias modules."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from ergon.aliases import folder

pytestmark = pytest.mark.slow

FILES = ["decorate", "join", "map", "maps", "mp", "pp", "random", "star", "with"]

# Loaded by every interpreter the test starts: at its end it notes where the packages came from.
WITNESS = """
import atexit, json, os, sys

def note():
    names = ("pathos", "dill", "ppft", "multiprocess", "pox")
    found = {n: sys.modules[n].__file__ for n in names if n in sys.modules}
    path = os.path.join(os.environ["WITNESS_FOLDER"], str(os.getpid()))
    with open(path + ".part", "w") as file:  # a worker may be ended at any moment
        json.dump(found, file)
    os.replace(path + ".part", path)

atexit.register(note)
"""


@pytest.fixture
def suite(peer_package, tmp_path):
    """A folder with the test files alone, so that no package lies beside them."""
    shutil.copytree(peer_package("pathos", "0.3.5") / "pathos" / "tests", tmp_path / "tests")
    (tmp_path / "witness").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "witness" / "sitecustomize.py").write_text(WITNESS)
    return tmp_path


@pytest.mark.parametrize("name", FILES)
def test_file(suite, name):
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join([folder(), str(suite / "witness")])
    environment["WITNESS_FOLDER"] = str(suite / "notes")
    done = subprocess.run(
        [sys.executable, str(suite / "tests" / f"test_{name}.py")],
        capture_output=True,
        text=True,
        timeout=180,
        env=environment,
        cwd=suite,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    notes = [json.loads(note.read_text()) for note in (suite / "notes").iterdir() if note.suffix != ".part"]
    assert any("pathos" in note for note in notes), "the test never imported pathos"
    for note in notes:
        for package, file in note.items():
            assert file.startswith(folder() + os.sep), f"{package} was imported from {file}"


def test_all_files_are_run(peer_package):
    tests = peer_package("pathos", "0.3.5") / "pathos" / "tests"
    assert sorted(p.stem.removeprefix("test_") for p in tests.glob("test_*.py")) == FILES
