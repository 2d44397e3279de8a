"""The benchmarks run, and say what they measured."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench import graph, harness  # noqa: E402
from bench import run as bench_run  # noqa: E402


@pytest.fixture(autouse=True)
def own_path(monkeypatch):
    """The files of bench/ put what they need first on the path."""
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])


def question(**changes):
    values = {"key": "k", "what": "w", "unit": "µs", "contenders": {}, "peer": "peer", "target": 10.0, **changes}
    return harness.Question(**values)


def test_ratio_is_that_of_the_medians():
    figures = {"ergon": [3e-6, 1e-6, 2e-6], "peer": [10e-6, 50e-6, 20e-6]}
    answer = harness.summary(question(), figures, {})
    assert answer["ratio"] == pytest.approx(10) and answer["met"]
    assert answer["best_ratio"] == pytest.approx(10)
    assert not harness.summary(question(target=11), figures, {})["met"]


def test_a_contender_without_a_figure_decides_nothing():
    answer = harness.summary(question(), {"ergon": [1e-6], "peer": []}, {"peer": "not installed"})
    assert answer["ratio"] is None and answer["met"] is None
    assert answer["errors"] == {"peer": "not installed"}


def test_a_margin_is_what_ours_may_take_beyond_the_peer():
    figures = {"ergon": [90e-6], "peer": [20e-6]}
    assert harness.summary(question(margin=80e-6), figures, {})["met"]
    assert not harness.summary(question(margin=60e-6), figures, {})["met"]


def test_metg_finds_what_a_task_costs():
    cost = 7e-6

    def run_graph(kernel):
        return graph.STEPS * 8 * (kernel + cost) / 2

    assert graph.metg(run_graph, 8, 100e-6, 3, 1) == pytest.approx(cost)


@pytest.mark.parametrize("width", [2, 8])
def test_patterns_stay_inside_the_graph(width):
    for step in range(1, 10):
        for i in range(width):
            for pattern in (graph.stencil, graph.fft):
                needed = pattern(step, i, width)
                assert i in needed and all(0 <= k < width for k in needed)
                assert len(needed) == len(set(needed)) >= 2


def run(*arguments):
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=300
    )
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("file", ["pipe", "submit", "imap"])
def test_a_benchmark_gives_figures(file):
    data = run(os.path.join("bench", file + ".py"), "--quick", "--json", "-", "--only", "ergon")
    for answer in data["answers"]:
        assert not answer["errors"]
        assert answer["median"]["ergon"] > 0


QUESTION_FILE = """
import contextlib
from bench import harness

@contextlib.contextmanager
def absent():
    import no_such_library
    yield lambda: 1.0

@contextlib.contextmanager
def present():
    yield lambda: 2.0

QUESTIONS = [harness.Question("k", "w", "s", {"absent": absent, "present": present}, "present", 1.0, reps=2)]
"""


def test_a_library_that_is_missing_harms_nobody(tmp_path, monkeypatch):
    (tmp_path / "a_question.py").write_text(QUESTION_FILE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    import a_question

    answer = harness.ask("a_question", a_question.QUESTIONS[0], harness.Gate(patience=0, budget=0))
    assert answer["errors"] == {"absent": "absent: ModuleNotFoundError: No module named 'no_such_library'"}
    assert answer["median"] == {"present": 2.0}


LACKING_FILE = """
import contextlib
from bench import harness

@contextlib.contextmanager
def lacking():
    raise harness.NotMeasured("sshd is not installed")
    yield

@contextlib.contextmanager
def present():
    yield lambda: 2.0

QUESTIONS = [harness.Question("k", "w", "s", {"present": present, "ergon": lacking}, "present", 1.0, reps=2)]
"""


def test_what_the_machine_lacks_stands_in_the_row(tmp_path, monkeypatch):
    (tmp_path / "lacking_question.py").write_text(LACKING_FILE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    import lacking_question

    answer = harness.ask("lacking_question", lacking_question.QUESTIONS[0], harness.Gate(patience=0, budget=0))
    assert not answer["errors"] and not answer["median"]
    assert "not measured: sshd is not installed" in bench_run.row(answer, {})


@pytest.mark.slow
def test_hosts_give_figures():
    from bench import hosts

    few = [q for q in hosts.QUESTIONS if q.key in ("ssh_single", "ssh_round_trip", "sched_time", "sched_memory")]
    for one in few:
        answer = harness.ask(
            "bench.hosts", dataclasses.replace(one, reps=1), harness.Gate(patience=0, budget=0), ["ergon"]
        )
        assert not answer["errors"], one.key
        assert answer["lacking"] or answer["median"]["ergon"] > 0
