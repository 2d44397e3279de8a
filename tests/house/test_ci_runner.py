"""scripts/ci.py counts what the tools print, and a stage that fails cannot pass unnoticed."""

import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import ci  # noqa: E402


@pytest.mark.parametrize(
    ("line", "passed", "failed"),
    [
        ("Ok:                 12  ", 12, 0),
        ("Fail:               2   ", 0, 2),
        ("Timeout:            1   ", 0, 1),
        ("5 passed in 0.10s", 5, 0),
        ("1 failed, 67 passed, 1 skipped in 5.85s", 67, 1),
        ("68 passed, 1 skipped, 1 warning in 64.54s (0:01:04)", 68, 0),
        ("=== 2 passed, 1 error in 0.5s ===", 2, 1),
        ("3 passed, 1 xfailed, 2 errors in 1.0s", 4, 2),
        ("checks: 5 passed, 1 failed", 5, 1),
        ("a test prints: 7 passed in the street", 0, 0),
        ("966 passed, 49 skipped, 486 subtests passed in 83.75s (0:01:23)", 966, 0),
        ("2 failed, 9 passed, 3 subtests failed in 1.75s", 9, 2),
        ("no tests ran in 0.01s", 0, 0),
    ],
)
def test_counts(line, passed, failed):
    totals = {"passed": 0, "failed": 0}
    ci.count(line, totals)
    assert totals == {"passed": passed, "failed": failed}


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("print('4 passed in 0.1s')", (4, 0, [])),
        ("print('4 passed in 0.1s'); raise SystemExit(3)", (4, 1, [])),
        ("print('1 failed, 4 passed in 0.1s'); raise SystemExit(1)", (4, 1, [])),
        ("pass", (1, 0, [])),
        ("raise SystemExit(1)", (0, 1, [])),
        ("print('skipped: no such Python')", (0, 0, ["no such Python"])),
        ("print('skipped: no such Python'); raise SystemExit(1)", (0, 1, ["no such Python"])),
        ("print('skipped: one'); print('4 passed, 1 skipped in 0.1s')", (4, 0, ["one"])),
    ],
)
def test_stage(script, expected, capsys):
    assert ci.run("stage", [sys.executable, "-c", script]) == expected
    assert "--- stage" in capsys.readouterr().out


def test_closing_line_and_status(monkeypatch, capsys):
    stages = [("good", [sys.executable, "-c", "print('4 passed in 0.1s')"]), ("bad", ["false"])]
    monkeypatch.setitem(ci.TIERS, "quick", stages)
    assert ci.main("quick") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "4 passed, 1 failed"
    assert lines[-2] == "failed stages: bad"
    monkeypatch.setitem(ci.TIERS, "quick", stages[:1])
    assert ci.main("quick") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "4 passed, 0 failed"


def test_skipped_stages_did_not_pass(monkeypatch, capsys):
    stages = [
        ("good", [sys.executable, "-c", "print('4 passed in 0.1s')"]),
        ("absent", [sys.executable, "-c", "print('skipped: no debug build')"]),
    ]
    monkeypatch.setitem(ci.TIERS, "quick", stages)
    assert ci.main("quick") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["skipped: absent: no debug build", "4 passed, 0 failed"]
    assert any(line.startswith("--- absent: skipped after") for line in lines)
