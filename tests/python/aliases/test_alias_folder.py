"""The folder, and what the packages in it say about themselves."""

import os
import subprocess
import sys

import pytest
from ergon.aliases import folder

PACKAGES = ["pathos", "multiprocess", "ppft", "pp", "dill", "pydron"]


def test_command_prints_the_folder():
    done = subprocess.run([sys.executable, "-m", "ergon.aliases"], capture_output=True, text=True, timeout=60)
    assert done.stdout == folder() + "\n" and done.returncode == 0
    assert os.path.isdir(os.path.join(folder(), "pathos"))


@pytest.mark.parametrize("name", PACKAGES)
def test_package_is_ours(program, name):
    out = program(f"import {name}; print({name}.__file__); print({name}.__version__)").splitlines()
    assert out[0].startswith(folder())
    assert out[1]


@pytest.mark.parametrize("name", PACKAGES)
def test_license_and_citation(program, name):
    out = program(f"import {name}; {name}.license(); print('-----'); {name}.citation()")
    text, cite = out.split("-----")
    assert "BSD" in text and "WARRANTIES" in text
    assert "Ergon" in cite and ("Mueller" if name == "pydron" else "McKerns") in cite
    assert program(f"import {name}; print({name}.__license__)").startswith("BSD")


def test_importing_pathos_opens_no_pool(program):
    program("""
        import os, pathos, pathos.pools, pathos.mp_map, pathos.pp_map, pathos.maps, pathos.python, pathos.pp
        import pathos.abstract_launcher, pathos.helpers, pathos.util
        assert not pathos.pools.ProcessPool.__state__
        children = open(f"/proc/self/task/{os.getpid()}/children").read()
        assert not children, children
    """)
