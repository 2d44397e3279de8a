"""The programs of tests/flow behave under the decorators as they do without."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "flow"


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["replace", "source"])
def test_programs(mode, tmp_path):
    report = tmp_path / "report.json"
    command = [
        sys.executable,
        str(FOLDER / "harness.py"),
        "ergon:schedule,functional",
        "--hook",
        str(FOLDER / "hook.py"),
    ]
    command += ["-n", "4", "--mode", mode, "--repeat", "1", "-q", "--timeout", "60", "--json", str(report)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # it leaves decorated copies behind
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    records = json.loads(report.read_text())
    bad = [r["name"] for r in records if r["status"] not in ("PASS", "SKIP", "SOFT")]
    assert len(records) >= 59
    assert not bad, done.stdout
