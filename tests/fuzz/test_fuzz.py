"""A short run of each fuzzer, with another seed each day."""

import datetime
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent


@pytest.mark.parametrize("seconds", [2, pytest.param(60, marks=pytest.mark.full)])
def test_unpickler(seconds):
    seed = str(datetime.date.today().toordinal())
    command = [sys.executable, str(HERE / "fuzz_unpickler.py"), "--seconds", str(seconds), "--seed", seed]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"seed {seed}: exit status {done.returncode}\n{done.stderr}"
    count, loaded = (int(word) for word in done.stdout.split() if word.isdigit())
    assert 0 < loaded < count
