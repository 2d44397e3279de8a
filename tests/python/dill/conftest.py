"""Programs with the alias folder first on their path; dill itself, where it can be had."""

import os
import subprocess
import sys
import textwrap

import pytest
from ergon.aliases import folder


@pytest.fixture
def run(tmp_path):
    """run(text, *path) -> what the program prints; `path` are folders to import from."""

    def start(text, *path, python=sys.executable):
        file = tmp_path / "program.py"
        file.write_text(textwrap.dedent(text))
        inherited = [folder for folder in [os.environ.get("PYTHONPATH")] if folder]
        done = subprocess.run(
            [python, str(file)],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, path), *inherited])},
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return start


@pytest.fixture
def program(run):
    """A program whose dill is the alias."""
    return lambda text, *path: run(text, folder(), *path)
