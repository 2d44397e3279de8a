"""A short run of each fuzzer, with another seed each day. `make fuzz-pickle MINUTES=10`: a long one, under AddressSanitizer."""

import datetime
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
LONG = 60 * float(os.environ.get("ERGON_FUZZ_MINUTES", "1"))


@pytest.mark.parametrize("seconds", [2, pytest.param(LONG, marks=pytest.mark.full, id="long")])
def test_unpickler(seconds, tmp_path):
    seed, last = str(datetime.date.today().toordinal()), tmp_path / "last"
    command = [
        sys.executable,
        str(HERE / "fuzz_unpickler.py"),
        "--seconds",
        str(seconds),
        "--seed",
        seed,
        "--keep",
        str(last),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        kept = last.read_bytes()
        stream = kept[8 : 8 + int.from_bytes(kept[:8], "little")]
        pytest.fail(f"seed {seed}: exit status {done.returncode} with {stream!r}\n{done.stderr}")
    count, loaded = (int(word) for word in done.stdout.split() if word.isdigit())
    print(done.stdout)
    assert 0 < loaded < count
