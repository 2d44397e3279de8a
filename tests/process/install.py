"""Running installed programs; the fixtures in conftest.py install what is in the build folder."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("ERGON_BUILD", ROOT / "build"))
TOOLS = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])


def run(*command, **options):
    options.setdefault("env", {**os.environ, "PATH": TOOLS})
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout
