"""ergon.trace: what is recorded becomes a file that Perfetto and `ergon report` read."""

from __future__ import annotations

import functools
import json
import os
import pathlib
import signal

import ergon
import pytest
from ergon import _core, trace

MS = 1_000_000


class Recorder:
    """Stands for the recording in C."""

    def __init__(self) -> None:
        self.on, self.entries = False, []

    def switch(self, on: bool) -> None:
        self.on = on

    def add(self, task: int = 1, **fields: object) -> None:
        entry = {
            "kind": "run",
            "pool": 1,
            "worker": 1,
            "worker_name": "process 10",
            "task": task,
            "function": "f",
            "items": 1,
            "queued_ns": 1000 * MS,
            "start_ns": 1002 * MS,
            "end_ns": 1007 * MS,
            "bytes_in": 100,
            "bytes_out": 200,
            "outcome": "ok",
            **fields,
        }
        if self.on:
            self.entries.append(tuple(entry.values()))


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    fake = Recorder()
    monkeypatch.setattr(_core, "trace_start", lambda: fake.switch(True))
    monkeypatch.setattr(_core, "trace_stop", lambda: fake.switch(False))
    monkeypatch.setattr(_core, "trace_clear", fake.entries.clear)
    monkeypatch.setattr(_core, "trace_events", lambda: list(fake.entries))
    yield fake
    trace.stop()
    trace.clear()


def saved(path: pathlib.Path) -> dict:
    trace.save(path)
    return json.loads(path.read_text())


def test_events_are_kept_over_stops(recorder: Recorder) -> None:
    trace.start()
    trace.start()
    recorder.add(1)
    assert [event.task for event in trace.events()] == [1]
    trace.stop()
    trace.stop()
    recorder.add(2)
    trace.start()
    recorder.add(3)
    assert [event.task for event in trace.events()] == [1, 3]
    trace.clear()
    assert trace.events() == [] and recorder.on
    recorder.add(4)
    trace.stop()
    (event,) = trace.events()
    assert (event.task, event.function, event.end_ns - event.start_ns) == (4, "f", 5 * MS)


def test_the_file(recorder: Recorder, tmp_path: pathlib.Path) -> None:
    trace.start()
    recorder.add(1)
    recorder.add(2, worker=2, worker_name="thread 11", queued_ns=1001 * MS, outcome="error", items=7)
    recorder.add(3, kind="lost", queued_ns=1002 * MS, start_ns=0, end_ns=1009 * MS, outcome="lost")
    trace.stop()
    file = saved(tmp_path / "t.json")
    assert file["displayTimeUnit"] == "ms" and file["ergon"]["format"] == 1
    assert file["otherData"]["ergon"] and file["otherData"]["cores"] >= 1
    events = file["traceEvents"]
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert names == {(1, 1): "process 10", (1, 2): "thread 11"}
    one, two = (e for e in events if e["ph"] == "X")
    assert (one["ts"], one["dur"], one["args"]["wait_us"]) == (2000, 5000, 2000)
    assert one["args"] == {
        "task": 1, "items": 1, "wait_us": 2000, "bytes_in": 100, "bytes_out": 200, "outcome": "ok",
    }  # fmt: skip
    assert (two["tid"], two["args"]["outcome"], two["args"]["items"]) == (2, "error", 7)
    waits = [e for e in events if e["ph"] in "be"]
    assert [(e["ph"], e["ts"], e["id"]) for e in waits[:2]] == [("b", 0, "1.1"), ("e", 2000, "1.1")]
    (lost,) = (e for e in events if e["ph"] == "i")
    assert (lost["ts"], lost["args"]["outcome"], lost["args"]["task"]) == (9000, "lost", 3)


def test_a_long_trace_has_no_arrows(recorder: Recorder, tmp_path: pathlib.Path) -> None:
    trace.start()
    for task in range(trace._WAITS + 1):
        recorder.add(task)
    trace.stop()
    phases = [event["ph"] for event in saved(tmp_path / "t.json")["traceEvents"]]
    assert phases.count("X") == trace._WAITS + 1 and "b" not in phases


def test_pools_and_tasks_are_counted_in_the_order_of_queueing(recorder: Recorder, tmp_path: pathlib.Path) -> None:
    trace.start()
    recorder.add(task=7 << 32, pool=900, queued_ns=1003 * MS)
    recorder.add(task=8 << 32, pool=901, queued_ns=1001 * MS)
    recorder.add(task=7 << 32, pool=900, queued_ns=1003 * MS, outcome="retried")
    runs = [e for e in saved(tmp_path / "t.json")["traceEvents"] if e["ph"] == "X"]
    assert [(e["pid"], e["args"]["task"]) for e in runs] == [(1, 1), (2, 2), (2, 2)]


def test_an_empty_trace_is_a_file(recorder: Recorder, tmp_path: pathlib.Path) -> None:
    assert saved(tmp_path / "t.json")["traceEvents"] == []


def test_record_saves_after_an_exception(recorder: Recorder, tmp_path: pathlib.Path) -> None:
    with pytest.raises(KeyError), trace.record(tmp_path / "t.json") as recording:
        recorder.add(5, items=55)
        assert recording is trace
        raise KeyError("x")
    assert not recorder.on
    runs = [e for e in json.loads((tmp_path / "t.json").read_text())["traceEvents"] if e["ph"] == "X"]
    assert [run["args"]["items"] for run in runs] == [55]


def test_save_replaces_in_one_step(recorder: Recorder, tmp_path: pathlib.Path, monkeypatch) -> None:
    place = tmp_path / "t.json"
    place.write_text("old")
    monkeypatch.setattr(trace, "_entries", lambda *a: 1 // 0)
    trace.start()
    recorder.add(1)
    trace.stop()
    with pytest.raises(ZeroDivisionError):
        trace.save(place)
    assert place.read_text() == "old" and os.listdir(tmp_path) == ["t.json"]
    with pytest.raises(FileNotFoundError):
        trace.save(tmp_path / "no" / "t.json")


def test_sections(recorder: Recorder, tmp_path: pathlib.Path) -> None:
    trace.section("Table", [(1, "a"), (2.5, None)], columns=("n", "text"), note="noted")
    trace.section("Bars", [("x", 3)], kind="bars")
    trace.section("Facts", [("x", float("nan"))], kind="facts")
    trace.section("Text", ["one", "two"], kind="text")
    table, bars, facts, text = saved(tmp_path / "t.json")["ergon"]["sections"]
    assert table == {"title": "Table", "kind": "table", "columns": ["n", "text"], "rows": [[1, "a"], [2.5, ""]],
                     "note": "noted"}  # fmt: skip
    assert bars["rows"] == [["x", 3]] and facts["rows"] == [["x", "nan"]] and text["rows"] == [["one"], ["two"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "pie"}, "kind of a section is 'table'"),
        ({"kind": "bars", "rows": [("x", "many")]}, "a row of bars is a label and a number"),
        ({"kind": "facts", "rows": [("x",)]}, "a row of facts is a label and a value"),
        ({"rows": [(1, 2, 3)], "columns": ("a", "b")}, "2 columns, but a row of 3 cells"),
    ],
)
def test_wrong_sections(recorder: Recorder, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trace.section("x", **arguments)


def test_autostart(recorder: Recorder, tmp_path: pathlib.Path, monkeypatch) -> None:
    import atexit

    at_exit = []
    monkeypatch.setattr(atexit, "register", lambda *call: at_exit.append(call))
    trace.autostart()
    assert not at_exit and not recorder.on
    monkeypatch.setenv("ERGON_TRACE", str(tmp_path / "t.json"))
    trace.autostart()
    assert "ERGON_TRACE" not in os.environ and recorder.on
    recorder.add(9, items=99)
    ((function, *arguments),) = at_exit
    function(*arguments)
    assert '"items":99' in (tmp_path / "t.json").read_text()


def test_autostart_that_cannot_save_says_so(recorder: Recorder, tmp_path, capsys) -> None:
    trace.start()
    trace._finish(str(tmp_path / "no" / "t.json"))
    assert "ergon: cannot save the trace: " in capsys.readouterr().err


# --- the recording in C -------------------------------------------------------------------------------------------


def squared(x: int) -> int:
    if x == 3:
        raise ValueError(x)
    return x * x


@pytest.fixture
def recording():
    trace.clear()
    trace.start()
    yield
    trace.stop()
    trace.clear()


@pytest.mark.parametrize("kind", ["ProcessPool", "ThreadPool"])
def test_every_task_is_recorded_once(recording: None, kind: str) -> None:
    with getattr(ergon, kind)(2) as pool:
        assert pool.map(squared, range(4, 44), chunksize=1) == [x * x for x in range(4, 44)]
        with pytest.raises(ValueError, match="3"):
            pool.pipe(squared, 3)
    found = trace.events()
    assert sum(event.items for event in found) == 41
    assert len({event.task for event in found}) == len(found)
    assert {event.function for event in found} == {"squared"}
    assert sorted(event.outcome for event in found if event.outcome != "ok") == ["error"]
    for event in found:
        assert 0 < event.queued_ns <= event.start_ns <= event.end_ns
        assert event.worker_name and event.bytes_in >= 0 and event.bytes_out >= 0
    for worker in {event.worker for event in found}:  # a worker does one thing at a time
        runs = sorted((event.start_ns, event.end_ns) for event in found if event.worker == worker)
        assert all(end <= start for (_, end), (start, _) in zip(runs, runs[1:], strict=False))


def test_nothing_is_recorded_before_and_after() -> None:
    trace.clear()
    with ergon.ProcessPool(1) as pool:
        pool.pipe(squared, 1)
        with trace.record():
            pool.pipe(squared, 2)
        pool.pipe(squared, 5)
    assert len(trace.events()) == 1
    trace.clear()
    assert trace.events() == []


def test_record_and_report(tmp_path: pathlib.Path) -> None:
    trace.clear()
    with trace.record(tmp_path / "t.json"), ergon.ProcessPool(2) as pool:
        pool.map(squared, range(10, 30))
        trace.section("Found", [("answer", 42)], kind="facts")
    trace.clear()
    page = trace.report(tmp_path / "t.json")
    assert page == str(tmp_path / "t.html")
    text = (tmp_path / "t.html").read_text()
    assert "squared" in text and "Found" in text
    with pytest.raises(ergon.errors.ErgonError, match="cannot open"):
        trace.report(tmp_path / "none.json")


def dies(x: int) -> int:
    if x == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def test_runs_that_ended_with_their_worker(recording: None, tmp_path: pathlib.Path) -> None:
    with ergon.ProcessPool(2) as pool:
        futures = [pool.submit(dies, x) for x in range(5)]
        with pytest.raises(ergon.errors.WorkerLost):
            futures[2].result()
        with pytest.raises(ergon.errors.WorkerLost):
            pool.submit(dies, 2, retries=1).result()
        assert [future.result() for future in futures if future is not futures[2]] == [0, 1, 3, 4]
        found = [event for event in trace.events() if event.outcome != "ok"]
    assert sorted(event.outcome for event in found) == ["lost", "lost", "retried"]
    for event in found:
        assert event.function == "dies" and event.worker_name.startswith("process ")
        assert 0 < event.queued_ns and 0 < event.start_ns <= event.end_ns
    again = [event.task for event in found if event.outcome == "retried"]
    assert again[0] in [event.task for event in found if event.outcome == "lost"]
    trace.save(tmp_path / "t.json")
    trace.report(tmp_path / "t.json")
    assert "2 lost, 1 retried." in (tmp_path / "t.html").read_text()


def nested(pool: ergon.Pool) -> int:
    return sum(pool.map(squared, range(10, 14)))


def test_functions_have_names_wherever_they_come_from() -> None:
    trace.clear()
    with ergon.Pool("local:2", "threads:1") as pool:
        pool.map(nested, [pool] * 6, chunksize=1)  # known before the recording begins
        with trace.record():
            pool.map(nested, [pool] * 6, chunksize=1)
            pool.pipe(functools.partial(squared, 10))
        names = {event.function for event in trace.events()}
    assert names == {"nested", "squared", "<class 'functools.partial'>"}
    trace.clear()
