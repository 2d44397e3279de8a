"""scripts/ci.py counts what the tools print, and a stage that fails cannot pass unnoticed."""

import os
import pathlib
import shutil
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


def test_commands_side_by_side(capfd):
    """Each waits for the other; the output of the second comes in one piece; a failure of either counts."""
    script = "import os, sys; r, w = map(int, sys.argv[1:3]); os.write(w, b'x'); os.read(r, 1); print(sys.argv[3])"

    def meet(*last):
        ends = [os.pipe(), os.pipe()]
        for fd in sum(ends, ()):
            os.set_inheritable(fd, True)
        pairs = [(ends[0][0], ends[1][1]), (ends[1][0], ends[0][1])]
        try:
            commands = [
                [sys.executable, "-c", script, *map(str, pair), text] for pair, text in zip(pairs, last, strict=True)
            ]
            return ci.run("stage", *commands)
        finally:
            for fd in sum(ends, ()):
                os.close(fd)

    if len(os.sched_getaffinity(0)) > 1:
        inherits = ci.subprocess.Popen
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ci.subprocess, "Popen", lambda *a, **k: inherits(*a, **k, close_fds=False))
            assert meet("3 passed in 0.1s", "skipped: that\n4 passed in 0.1s") == (7, 0, ["that"])
            assert meet("3 passed in 0.1s", "1 failed, 4 passed in 0.1s") == (7, 1, [])
    good, bad = [sys.executable, "-c", "print('4 passed in 0.1s')"], ["false"]
    assert ci.run("stage", good, bad) == ci.run("stage", bad, good) == (4, 1, [])


def test_one_core_runs_one_after_the_other(monkeypatch, tmp_path):
    monkeypatch.setattr(ci.os, "sched_getaffinity", lambda pid: {0})
    first = "import sys, time; time.sleep(0.2); open(sys.argv[1], 'w').close(); print('1 passed in 0.1s')"
    second = "import os, sys; assert os.path.exists(sys.argv[1]); print('2 passed in 0.1s')"
    commands = [[sys.executable, "-c", script, str(tmp_path / "x")] for script in (first, second)]
    assert ci.run("stage", *commands) == (3, 0, [])


def test_every_test_belongs_to_one_part():
    parts = [[word for word in command if word.startswith("tests/")] for command in ci.python_tests("default")]
    files = {path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py")}
    for file in files:
        assert sum(file.is_relative_to(folder) for part in parts for folder in part) == 1, file
    assert all(parts) and not ci.WAITING - {folder.removeprefix("tests/") for folder in parts[0]}


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


PEER = """
import pytest

@pytest.fixture
def suite():
    pytest.skip("peer 1.0 could not be\\n  downloaded")

@pytest.mark.parametrize("part", [1, 2, 3])
def test_suite(suite, part): pass

def test_users(): pytest.importorskip("nobody_has_this_module")

@pytest.mark.skipif(True, reason="not on this system")
def test_marked(): pass

@pytest.mark.xfail
def test_known(): raise ValueError

def test_good(): pass
"""


def test_peers_that_are_left_out_are_listed(tmp_path, capsys):
    """tests/peers/conftest.py says them in lines that the runner lists again; what was skipped did not pass."""
    folder = tmp_path / "tests" / "peers"
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "peers" / "conftest.py", folder)
    (folder / "test_peer.py").write_text(PEER)
    (folder / "test_whole.py").write_text("import pytest\nnone = pytest.importorskip('nobody_has_that')\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    passed, failed, skipped = ci.run("peers", command)
    assert (passed, failed) == (2, 0)
    assert skipped == [
        "peers/test_whole.py: could not import 'nobody_has_that': No module named 'nobody_has_that'",
        "peers/test_peer.py::test_suite: peer 1.0 could not be downloaded",
        "peers/test_peer.py::test_users: could not import 'nobody_has_this_module': "
        "No module named 'nobody_has_this_module'",
        "peers/test_peer.py::test_marked: not on this system",
    ], capsys.readouterr().out


def test_a_run_of_peers_that_were_all_left_out_did_not_pass(tmp_path, monkeypatch, capsys):
    shutil.copy(ROOT / "tests" / "peers" / "conftest.py", tmp_path)
    (tmp_path / "test_peer.py").write_text("import pytest\ndef test_suite(): pytest.skip('no network')\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    monkeypatch.setitem(ci.TIERS, "quick", [("peers", command)])
    assert ci.main("quick") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["skipped: peers: test_peer.py::test_suite: no network", "0 passed, 0 failed"]
