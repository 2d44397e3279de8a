"""The programs of tests/flow behave under the decorators as they do without."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "flow"


def run_all(tmp_path, hook, *options):
    """The harness's records, and what it printed."""
    report = tmp_path / "report.json"
    command = [sys.executable, str(FOLDER / "harness.py"), "ergon:schedule,functional", "--hook", str(FOLDER / hook)]
    command += ["-n", "4", "-q", "--timeout", "60", "--json", str(report), *options]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # it leaves decorated copies behind
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    records = json.loads(report.read_text())
    bad = [r["name"] for r in records if r["status"] not in ("PASS", "SKIP", "SOFT")]
    assert len(records) >= 59
    assert not bad, done.stdout
    return records


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["replace", "source"])
def test_programs(mode, tmp_path):
    run_all(tmp_path, "hook.py", "--mode", mode, "--repeat", "1")


@pytest.mark.full
def test_programs_while_workers_die(tmp_path):
    """Every one of them: a worker that is killed changes nothing."""
    records = run_all(tmp_path, "killing.py", "--repeat", "4")
    kills = [int(n) for r in records for n in re.findall(r"workers killed: (\d+)", r["log"])]
    assert len(kills) > 100 and sum(kills) > 100, kills
