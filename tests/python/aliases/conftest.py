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
            env={**os.environ, "PYTHONPATH": folder()},
            cwd=tmp_path,
        )
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout
        return done

    return run
