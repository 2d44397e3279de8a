"""The alias packages in front of the import path, here and in what is started here."""

import os
import subprocess
import sys
import textwrap

import pytest
from ergon.aliases import folder


@pytest.fixture
def program(tmp_path):
    """Runs a program with the alias folder first on its path; it must end well. Returns its standard output."""

    def run(text, check=True):
        path = tmp_path / "program.py"
        path.write_text(textwrap.dedent(text))
        done = subprocess.run(
            [sys.executable, str(path)],
            capture_output=True,
            text=True,
            timeout=120,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([folder(), *filter(None, [os.environ.get("PYTHONPATH")])]),
            },
            cwd=tmp_path,
        )
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout
        return done

    return run


@pytest.fixture(scope="module")
def alias_path():
    """The alias packages can be imported in this process while the module's tests run, and in what they start."""
    before, path = set(sys.modules), os.environ.get("PYTHONPATH")
    sys.path.insert(0, folder())
    os.environ["PYTHONPATH"] = folder() if path is None else os.pathsep.join([folder(), path])
    yield folder()
    sys.path.remove(folder())
    if path is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = path
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("dill", "multiprocess", "pathos", "pp", "ppft"):
            del sys.modules[name]
