"""ppft's own test scripts, unmodified, on the alias; they assert nothing, so what they print is looked at."""

import math
import os
import re
import shutil
import subprocess
import sys

import pytest
from ergon.aliases import folder

pytestmark = pytest.mark.slow

PRIMES = ["Sum of primes below 100 is 1060", "Sum of primes below 100000 is 454396537", "is 460217613"]
LINES = {
    "auto_diff": ["t_log(1.500000) = 0.405465, t_log'(1.500000) = 0.666667", "        32 |        100.00 |"],
    "callback": ["Partial sum is 0.69314720", "       128 |        100.00 |"],
    "dynamic_ncpus": ["Starting pp with 16 workers", "Partial sum is 0.69314720", "       384 |        100.00 |"],
    "quicksort": [
        "first 30 numbers in increasing order: [",
        " |        100.00 |",
    ],  # the numbers are random, and so are the jobs
    "reverse_md5": ["Reverse md5 for 48ae4d2d384dcc470e471f4169daa96a is 1829182"],
    "sum_primes": [*PRIMES, "         9 |        100.00 |"],
    "sum_primes_functor": [*PRIMES, "         9 |        100.00 |"],
}


@pytest.mark.parametrize("name", sorted(LINES))
def test_script(peer_package, tmp_path, name):
    shutil.copytree(peer_package("ppft", "1.7.8") / "ppft" / "tests", tmp_path / "scripts")
    done = subprocess.run(
        [sys.executable, "-X", "importtime", str(tmp_path / "scripts" / f"{name}.py")],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": folder()},
        cwd=tmp_path,
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stdout + done.stderr[-3000:]
    assert re.search(r"\bppft\._travel$", done.stderr, re.M), "the script did not run on the alias"
    for line in LINES[name]:
        assert line in done.stdout, done.stdout
    if name == "callback":
        assert abs(float(re.search(r"diff = (\S+)", done.stdout)[1])) < 1e-7 < math.log(2)
    if name == "quicksort":
        numbers = eval(re.search(r"order: (\[.*\])", done.stdout)[1])
        assert len(numbers) == 30 and numbers == sorted(numbers)


def test_all_scripts_are_run(peer_package):
    scripts = (peer_package("ppft", "1.7.8") / "ppft" / "tests").glob("*.py")
    assert sorted(p.stem for p in scripts if not p.stem.startswith("__")) == sorted(LINES)
