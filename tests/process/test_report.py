"""`ergon report`: a trace becomes a page, and the page shows what was in the trace, in a browser."""

from __future__ import annotations

import html
import json
import os
import pathlib
import random
import re
import struct
import subprocess
import sys
import zlib

import pytest
from browser import browse, in_browser, words

COMMAND = pathlib.Path(sys.prefix) / "bin" / "ergon"


def ergon(*arguments: object, text: str | bytes | None = None) -> subprocess.CompletedProcess:
    data = text.encode() if isinstance(text, str) else text
    return subprocess.run([COMMAND, *map(str, arguments)], input=data, capture_output=True, timeout=120, check=False)


def run_of(tasks: int, workers: int = 3, seed: int = 1) -> list[dict]:
    """Events of a plausible run: workers take tasks of several functions one after the other."""
    chance = random.Random(seed)
    free = [1000.0] * workers
    events = [
        {"ph": "M", "name": "process_name", "pid": 1, "tid": 0, "args": {"name": "pool 1"}},
        *(
            {"ph": "M", "name": "thread_name", "pid": 1, "tid": w, "args": {"name": f"process 10{w}"}}
            for w in range(workers)
        ),
    ]
    for task in range(tasks):
        worker = min(range(workers), key=free.__getitem__)
        lasted = chance.lognormvariate(6, 1)
        args = {
            "task": task,
            "items": 2,
            "wait_us": free[worker] - 900,
            "bytes_in": 1000,
            "bytes_out": 2000,
            "outcome": "ok",
        }
        name = ["analyse", "similarity", "reduce"][task % 3]
        events.append(
            {"ph": "X", "name": name, "pid": 1, "tid": worker, "ts": free[worker], "dur": lasted, "args": args}
        )
        free[worker] += lasted + 3
    return events


def trace_file(path: pathlib.Path, events: list[dict], sections: list[dict] = (), **about: object) -> pathlib.Path:
    about = {"program": "sample.py", "python": "3.11.7", "ergon": "0.1.0", "host": "here", "cores": 4, **about}
    path.write_text(
        json.dumps({"otherData": about, "ergon": {"format": 1, "sections": list(sections)}, "traceEvents": events})
    )
    return path


def page_of(tmp_path: pathlib.Path, events: list[dict], sections: list[dict] = (), **about: object) -> pathlib.Path:
    source = trace_file(tmp_path / "t.json", events, sections, **about)
    done = ergon("report", source)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().strip() == str(tmp_path / "t.html")
    assert sorted(os.listdir(tmp_path)) == ["t.html", "t.json"]
    return tmp_path / "t.html"


# --- the page as text -----------------------------------------------------------------------------------------


def test_totals_and_tables(tmp_path: pathlib.Path) -> None:
    text = words(page_of(tmp_path, run_of(300)).read_text())
    assert "sample.py" in text and "on here · Python 3.11.7 · Ergon 0.1.0 · 4 cores" in text
    assert "300 tasks" in text and "by 3 workers" in text
    assert "Items 600" in text and "Data moved 900 kB" in text and "100 kB 200 kB" in text
    for name in ("analyse", "similarity", "reduce", "process 100", "process 102", "Longest tasks", "Functions"):
        assert name in text
    assert "did not simply succeed" not in text and "Findings" not in text


def test_sums_agree_with_the_trace(tmp_path: pathlib.Path) -> None:
    events = run_of(500, workers=2)
    runs = [e for e in events if e["ph"] == "X"]
    page = page_of(tmp_path, events).read_text()
    data = json.loads(re.search(r'<script type="application/json" id="run">(.*?)</script>', page, re.S).group(1))
    assert sum(data["d"]) == pytest.approx(sum(e["dur"] for e in runs), rel=1e-3)
    assert sum(lane["tasks"] for lane in data["lanes"]) == len(data["d"]) == 500
    starts, at = [], 0
    for lane in data["lanes"]:
        now = 0
        for step in data["s"][at : at + lane["tasks"]]:
            now += step
            starts.append(now)
        at += lane["tasks"]
    first = min(e["ts"] - e["args"]["wait_us"] for e in runs)
    wanted = [e["ts"] - first for e in sorted(runs, key=lambda e: (e["tid"], e["ts"]))]
    assert starts == pytest.approx(wanted, abs=0.11)


def test_what_went_wrong_is_listed(tmp_path: pathlib.Path) -> None:
    events = run_of(30)
    for event, outcome in zip(
        [e for e in events if e["ph"] == "X"], ["lost", "retried", "error", "timeout"], strict=False
    ):
        event["args"]["outcome"] = outcome
    gone = {"task": 99, "function": "never", "outcome": "cancelled"}
    events.append({"ph": "i", "s": "t", "cat": "end", "name": "end", "pid": 1, "tid": 0, "ts": 1200, "args": gone})
    text = words(page_of(tmp_path, events).read_text())
    assert "1 error, 1 lost, 1 retried, 1 cancelled, 1 timeout." in text
    assert "Lost, failed or retried 5" in text and "never" in text


def test_findings(tmp_path: pathlib.Path) -> None:
    sections = [
        {
            "title": "Facts of it",
            "kind": "facts",
            "columns": None,
            "rows": [["files", 1790], ["share", "12 %"]],
            "note": "",
        },
        {
            "title": "Bars",
            "kind": "bars",
            "columns": None,
            "rows": [["parse\nre/_parser.py:518", 130], ["b", 65]],
            "note": "n",
        },
        {"title": "Table", "kind": "table", "columns": ["who", "n"], "rows": [["x", 12345]], "note": "noted"},
        {"title": "Text", "kind": "text", "columns": None, "rows": [["said once"]], "note": ""},
    ]
    page = page_of(tmp_path, [], sections).read_text()
    text = words(page)
    assert "files 1,790" in text and "12 %" in text and "noted who n x 12,345" in text and "said once" in text
    assert "--v:1.0000" in page and "--v:0.5000" in page
    assert "No task was recorded" in text


def test_sections_of_any_shape_are_survived(tmp_path: pathlib.Path) -> None:
    odd = [None, 1, [], {}, {"kind": "bars", "rows": [[], None, ["x"], [1, 2, 3], {"a": 1}]},
           {"kind": "table", "columns": [1, None], "rows": [[{"a": 1}, [1]], 7]}, {"kind": "facts", "rows": "no"},
           {"kind": "text", "rows": {"a": 1}}, {"title": 5, "note": [], "rows": [["a"]]}]  # fmt: skip
    assert "Findings" in words(page_of(tmp_path, [], odd).read_text())


def test_everything_is_escaped(tmp_path: pathlib.Path) -> None:
    evil = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>\"'&"
    events = run_of(3)
    for event in events:
        event["args"]["name"] = evil
        if event["ph"] == "X":
            event["name"] = evil
    section = {"title": evil, "kind": "bars", "columns": [evil], "rows": [[evil, 1]], "note": evil}
    table = {**section, "kind": "table", "rows": [[evil]]}
    page = page_of(tmp_path, events, [section, table], program=evil, host=evil).read_text()
    assert "<img" not in page and "<script>document" not in page
    assert page.count("</script>") == 2 and page.count("<script") == 2


def test_nothing_comes_from_elsewhere(tmp_path: pathlib.Path) -> None:
    page = page_of(tmp_path, run_of(10)).read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", page)
    assert set(re.findall(r"https?://[^'\"\s)]+", page)) <= {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in page


@pytest.mark.slow
def test_many_tasks_make_a_page_of_bearable_size(tmp_path: pathlib.Path) -> None:
    page = page_of(tmp_path, run_of(160_000, workers=2))
    assert page.stat().st_size < 12_000_000
    data = json.loads(re.search(r'id="run">(.*?)</script>', page.read_text(), re.S).group(1))
    assert len(data["d"]) <= 150_000 and sum(data["c"]) == 160_000 and sum(data["i"]) == 320_000
    assert "160,000 tasks" in words(page.read_text())


def test_other_hosts_have_a_table_of_their_own(tmp_path: pathlib.Path) -> None:
    assert "Other hosts" not in words(page_of(tmp_path, run_of(30)).read_text())
    events = run_of(30)
    for event in events:
        if event["name"] == "thread_name":
            event["args"]["name"] = ["process 1", "host ssh://a?slots=2&tags=<b>", "host b"][event["tid"]]
    text = words(page_of(tmp_path, events).read_text())
    counts = [sum(e["ph"] == "X" and e["tid"] == lane for e in events) for lane in range(3)]
    table = text.partition("Other hosts")[2].partition("Functions")[0]
    rows = [f"{name} {n} {n / 30 * 100:.0f} % {n}.0 kB {2 * n}.0 kB"
            for name, n in zip(["host ssh://a?slots=2&tags=<b>", "host b"], counts[1:], strict=True)]  # fmt: skip
    assert all(row in table for row in rows), (rows, table)
    assert "process 1" not in table


# --- the command ----------------------------------------------------------------------------------------------


def test_from_stdin_to_stdout(tmp_path: pathlib.Path) -> None:
    source = trace_file(tmp_path / "t.json", run_of(5))
    done = ergon("report", "-", text=source.read_bytes())
    assert done.returncode == 0 and done.stdout.startswith(b"<!doctype html>") and b"5 tasks" in done.stdout


def test_shown_in_the_browser(tmp_path: pathlib.Path) -> None:
    source = trace_file(tmp_path / "t.json", run_of(5))
    opener = tmp_path / "bin" / "xdg-open"
    opener.parent.mkdir()
    opener.write_text('#!/bin/sh\necho "shown: $1"\n')
    opener.chmod(0o755)
    environment = {**os.environ, "PATH": f"{opener.parent}:{os.environ['PATH']}"}
    words = [COMMAND, "report", source, "--open"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == f"{tmp_path}/t.html\nshown: {tmp_path}/t.html\n"
    done = subprocess.run(words, capture_output=True, text=True, env={"PATH": "/none"}, check=False)
    assert done.returncode == 1 and "in a browser" in done.stderr and (tmp_path / "t.html").exists()


def test_output_elsewhere(tmp_path: pathlib.Path) -> None:
    source = trace_file(tmp_path / "t.json", run_of(5))
    done = ergon("report", source, "-o", tmp_path / "page.html")
    assert done.returncode == 0 and (tmp_path / "page.html").read_text().endswith("</html>\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a trace: the file is empty"),
        (b"{", "the file ends before"),
        (b"[{]", "malformed JSON near byte 3"),
        (b'{"traceEvents": 7}', "is not an array"),
        (b"\x7fELF\x02\x01\x01", "neither '{' nor '['"),
        (b"\x1f\x8b\x08\x00", "gunzip it first"),
        (b"[" * 100_000, "malformed JSON"),
    ],
)
def test_bad_traces(tmp_path: pathlib.Path, content: bytes, message: str) -> None:
    source = tmp_path / "t.json"
    source.write_bytes(content)
    done = ergon("report", source)
    assert done.returncode == 1 and message in done.stderr.decode() and "t.json" in done.stderr.decode()
    assert os.listdir(tmp_path) == ["t.json"]


def test_files_that_cannot_be(tmp_path: pathlib.Path) -> None:
    source = trace_file(tmp_path / "t.json", run_of(5))
    for arguments, message in [
        ((tmp_path / "none.json",), "cannot open"),
        ((tmp_path,), "is a folder"),
        ((source, "-o", tmp_path / "no" / "x.html"), "cannot write"),
        ((source, "-o", tmp_path), "cannot write"),
    ]:
        done = ergon("report", *arguments)
        assert done.returncode == 1 and message in done.stderr.decode(), done.stderr
    assert os.listdir(tmp_path) == ["t.json"]


def test_wrong_calls(tmp_path: pathlib.Path) -> None:
    source = trace_file(tmp_path / "t.json", run_of(5))
    for arguments, message in [
        ((), "which trace?"),
        ((source, source), "one trace at a time"),
        ((source, "-o"), "incomplete option"),
        (("--loud", source), "unknown or incomplete option '--loud'"),
        ((source, "-o", source), "would replace the trace"),
    ]:
        done = ergon("report", *arguments)
        assert done.returncode == 2 and message in done.stderr.decode(), done.stderr


def test_a_full_disk_is_noticed(tmp_path: pathlib.Path) -> None:
    source = trace_file(tmp_path / "t.json", run_of(5))
    with open("/dev/full", "wb") as full:
        done = subprocess.run([COMMAND, "report", source, "-o", "-"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1 and b"could not be written" in done.stderr


# --- the page in a browser --------------------------------------------------------------------------------------


def pixels(path: pathlib.Path) -> tuple[int, int, list[bytes]]:
    """Width, height and rows of RGB(A) bytes of a PNG, as browsers write it."""
    data, at, packed = path.read_bytes(), 8, b""
    width, height, _, kind = struct.unpack(">IIBB", data[16:26])
    size = {2: 3, 6: 4}[kind]
    while at < len(data):
        (length,), name = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        packed += data[at + 8 : at + 8 + length] if name == b"IDAT" else b""
        at += 12 + length
    raw, rows, above = zlib.decompress(packed), [], bytearray(width * size)
    for y in range(height):
        line = bytearray(raw[y * (width * size + 1) + 1 : (y + 1) * (width * size + 1)])
        method = raw[y * (width * size + 1)]
        for i in range(len(line)):
            left = line[i - size] if i >= size else 0
            corner = above[i - size] if i >= size else 0
            if method == 1:
                line[i] = (line[i] + left) & 255
            elif method == 2:
                line[i] = (line[i] + above[i]) & 255
            elif method == 3:
                line[i] = (line[i] + (left + above[i]) // 2) & 255
            elif method == 4:
                guess = left + above[i] - corner
                near = min(
                    (abs(guess - left), 0, left), (abs(guess - above[i]), 1, above[i]), (abs(guess - corner), 2, corner)
                )
                line[i] = (line[i] + near[2]) & 255
        rows.append(bytes(line))
        above = line
    return width, height, [b"".join(row[i : i + 3] for i in range(0, len(row), size)) for row in rows]


def colours(path: pathlib.Path) -> dict[bytes, int]:
    _, _, rows = pixels(path)
    found: dict[bytes, int] = {}
    for row in rows:
        for i in range(0, len(row), 3):
            found[row[i : i + 3]] = found.get(row[i : i + 3], 0) + 1
    return found


@in_browser
def test_the_browser_draws_it(tmp_path: pathlib.Path) -> None:
    page = page_of(tmp_path, run_of(400))
    shown = browse(tmp_path, page, "--dump-dom").decode()
    assert 'data-drawn="400"' in shown  # the script ran to its end
    assert "400 tasks" in words(shown)
    shot = tmp_path / "shot.png"
    browse(tmp_path, page, f"--screenshot={shot}", "--window-size=1000,700")
    seen = colours(shot)
    clay, teal = bytes.fromhex("b4512a"), bytes.fromhex("2c7a80")
    assert len(seen) > 100  # text and shades: not a blank page
    assert seen.get(clay, 0) > 2000 and seen.get(teal, 0) > 200  # bars of tasks of two functions in the timeline


@in_browser
@pytest.mark.slow
def test_the_browser_draws_many_tasks_on_many_workers(tmp_path: pathlib.Path) -> None:
    page = page_of(tmp_path, run_of(100_000, workers=64))
    shown = browse(tmp_path, page, "--dump-dom", "--virtual-time-budget=10000").decode()
    assert 'data-drawn="100000"' in shown


@in_browser
@pytest.mark.slow
def test_on_a_phone_and_in_the_dark(tmp_path: pathlib.Path) -> None:
    page = page_of(
        tmp_path,
        run_of(60, workers=2),
        [{"title": "T", "kind": "table", "columns": ["a" * 30] * 4, "rows": [["x"] * 4]}],
    )
    probe = "<script>document.documentElement.dataset.wide = String(document.documentElement.scrollWidth - innerWidth)</script>"
    narrow = tmp_path / "narrow.html"
    frame = page.read_text().replace("</body>", probe + "</body>")
    narrow.write_text(frame)
    shown = browse(tmp_path, narrow, "--dump-dom", "--window-size=500,900").decode()
    assert int(re.search(r'data-wide="(-?\d+)"', shown).group(1)) <= 0  # the page itself never scrolls sideways
    shot = tmp_path / "dark.png"
    browse(tmp_path, page, f"--screenshot={shot}", "--window-size=600,700", "--blink-settings=preferredColorScheme=0")
    seen = colours(shot)
    assert max(seen, key=seen.get) == bytes.fromhex("161412")


@in_browser
@pytest.mark.slow
def test_nothing_in_a_name_runs(tmp_path: pathlib.Path) -> None:
    evil = "</script><script>document.documentElement.dataset.owned='1'</script><img src=x onerror=\"document.documentElement.dataset.owned='1'\">"
    events = run_of(3)
    for event in events:
        event["args"]["name"] = evil
        event["name"] = evil if event["ph"] == "X" else event["name"]
    page = page_of(tmp_path, events, [{"title": evil, "kind": "table", "rows": [[evil]]}], program=evil)
    shown = browse(tmp_path, page, "--dump-dom").decode()
    assert 'data-drawn="3"' in shown and "data-owned" not in shown


PROBE = """<script>
const lanes = document.getElementById("lanes"), box = lanes.getBoundingClientRect(), said = [];
const at = (share, kind = "pointermove", more = {}) => lanes.dispatchEvent(new (kind === "wheel" ? WheelEvent : PointerEvent)(kind, {
  clientX: box.left + box.width * share, clientY: box.top + 24 + 15, pointerId: 1, pointerType: "mouse", bubbles: true, cancelable: true, ...more}));
const tip = () => { const t = document.getElementById("tip"); return t.hidden ? "" : t.innerText.replace(/\\s+/g, " "); };
lanes.setPointerCapture = () => {};
at(0.5); said.push(tip());
at(0.01); said.push(tip());
for (let i = 0; i < 5; i++) at(0.5, "wheel", {deltaY: -100, ctrlKey: true});
at(0.5); said.push(tip());
at(0.55); said.push(tip());
at(0.5, "pointerdown"); at(0.3); at(0.3, "pointerup"); at(0.3); said.push(tip());
for (let i = 0; i < 30; i++) at(0.5, "wheel", {deltaY: 900, ctrlKey: true});
at(0.5); said.push(tip());
document.documentElement.dataset.said = JSON.stringify(said);
</script>"""


@in_browser
def test_the_pointer_shows_tasks_and_the_wheel_looks_closer(tmp_path: pathlib.Path) -> None:
    events = [
        {"ph": "X", "name": f"t{i:03}", "pid": 1, "tid": 1, "ts": i * 100, "dur": 95, "args": {"task": i, "wait_us": 1}}
        for i in range(300)
    ]
    page = page_of(tmp_path, events)
    page.write_text(page.read_text().replace("</body>", PROBE + "</body>"))
    shown = browse(tmp_path, page, "--dump-dom", "--window-size=1000,800").decode()
    said = json.loads(html.unescape(re.search(r'data-said="([^"]*)"', shown).group(1)))
    task = [int(re.search(r"task (\d+)", text).group(1)) if text else None for text in said]
    middle, gutter, closer, beside, dragged, whole = task
    assert gutter is None and "ran 95.0 µs" in said[0] and "waited 1.00 µs" in said[0]
    assert 100 < middle < 200 and closer == pytest.approx(middle, abs=1)  # the point under the pointer stays
    assert 0 < beside - closer < 4  # near the whole run, a twentieth of the width would be fifteen tasks
    assert dragged == pytest.approx(closer, abs=1)  # what was taken hold of moves along
    assert whole == pytest.approx(middle, abs=1)
