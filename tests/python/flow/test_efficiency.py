"""Programs of tests/flow take little longer than their longest chain of calls that depend on one another."""

import json
import os
import pathlib
import statistics
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "flow"


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info >= (3, 14), reason="calls run ahead on CPython 3.11 to 3.13")
def test_programs_run_as_parallel_as_they_can(tmp_path):
    report = tmp_path / "report.json"
    command = [
        sys.executable,
        str(FOLDER / "harness.py"),
        "ergon:schedule,functional",
        "--hook",
        str(FOLDER / "hook.py"),
    ]
    command += ["-n", "16", "--repeat", "3", "-k", "2", "-q", "--timeout", "60", "--json", str(report)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    records = [r for r in json.loads(report.read_text()) if r.get("ideal") and r["ideal"] >= 2 and r["SLEEP"]]
    # Sequential execution would have an efficiency of 1 / ideal: 0.1 to 0.5 here.
    assert len(records) > 30
    assert statistics.median(r["eff"] for r in records) > 0.75, done.stdout
    assert sum(r["eff"] < 0.5 for r in records) <= 3, done.stdout
