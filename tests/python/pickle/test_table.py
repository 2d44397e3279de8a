"""The table of all kinds of objects (table_entries.py): there, elsewhere, and home again."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).with_name("table_entries.py")
sys.path.insert(0, str(SCRIPT.parent))
import table_entries  # noqa: E402

PROGRAMS = (("dump", "1"), ("dump", "2"), ("load", "3"), ("home", "4"))  # and hash seeds


@pytest.fixture(scope="module")
def failures(tmp_path_factory):
    """Of each program, entry by entry."""
    folder = tmp_path_factory.mktemp("table")
    found: dict[str, list[str]] = {}
    for program, seed in PROGRAMS:
        command = [sys.executable, str(SCRIPT), program, str(folder)]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, f"{program}: {done.returncode}\n{done.stderr}"
        for name, texts in json.loads((folder / f"{program}.json").read_text()).items():
            found.setdefault(name, []).extend(texts)
    return found


@pytest.mark.parametrize("name", table_entries.ENTRIES)
def test_entry(name, failures):
    assert name not in failures, "\n".join(failures[name])
