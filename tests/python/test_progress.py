"""progress=: the bar on a terminal, lines in a log, functions, and what they leave behind."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import threading
import time

import ergon
import pytest
from ergon import progress


def on_terminal(source: str, columns: int = 80, encoding: str = "utf-8", interrupt_at: bytes | None = None) -> bytes:
    """Everything a program writes to a terminal. With `interrupt_at`, Ctrl-C is typed when that has appeared."""
    master, slave = pty.openpty()
    import fcntl
    import struct
    import termios

    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def own_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    environment = {**os.environ, "PYTHONIOENCODING": encoding, "TERM": "xterm", "PYTHONUNBUFFERED": "1"}
    environment.pop("NO_COLOR", None)
    child = subprocess.Popen(
        [sys.executable, "-c", source],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment,
        preexec_fn=own_terminal,
    )
    os.close(slave)
    seen = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        if not part:
            break
        seen += part
        if interrupt_at and interrupt_at in seen:
            interrupt_at = None
            os.write(master, b"\x03")
    os.close(master)
    child.wait()
    return seen


def screen(raw: bytes) -> list[str]:
    """What is left on the screen: the few control sequences the bar uses, played."""
    lines, column = [[]], 0
    for token in re.findall(r"\x1b\[[0-9;]*[A-Za-z]|.", raw.decode(), re.S):
        line = lines[-1]
        if token == "\r":
            column = 0
        elif token == "\n":
            lines.append([])
            column = 0
        elif token == "\x1b[K":
            del line[column:]
        elif token.startswith("\x1b["):
            assert token.endswith("m"), token
        else:
            line[column:] = [*line[column:column], token, *line[column + 1 :]] if column < len(line) else [token]
            column += 1
    return ["".join(line).rstrip() for line in lines]


COUNT = """
import time
from ergon.progress import make
bar = make(%s, %s)
bar.REDRAW = 0
for i in range(1, 41):
    time.sleep(0.012)
    bar.update(i)
    %s
bar.close(True)
print("done")
"""


def test_bar_grows_and_ends_in_a_summary() -> None:
    raw = on_terminal(COUNT % ("'reading'", 40, "pass"))
    assert "━" in raw.decode() and b"40 %" not in raw.split(b"\r")[1]
    shares = [int(found) for found in re.findall(rb"(\d+) %", raw)]
    assert shares == sorted(shares) and 2 < len(shares) < 30
    assert b" left" in raw and b"/s" in raw
    left = screen(raw)
    assert left[0].startswith("reading  40 in ") and left[1:] == ["done", ""]


def test_bar_fits_the_terminal() -> None:
    for columns in (12, 30, 200):
        raw = on_terminal(COUNT % ("'a rather long label of a map'", 40, "pass"), columns=columns)
        for drawn in raw.decode().split("\r"):
            text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", drawn).rstrip("\n")
            if "━" in text or "%" in text:
                assert len(text) < columns, (columns, text)


def test_bar_in_ascii() -> None:
    raw = on_terminal(COUNT % ("True", 40, "pass"), encoding="ascii")
    assert b"#" in raw and raw.isascii()


def test_output_of_the_program_goes_above_the_bar() -> None:
    raw = on_terminal(COUNT % ("'work'", 40, "print('line', i) if i % 7 == 0 else None"))
    left = screen(raw)
    assert left[:5] == ["line 7", "line 14", "line 21", "line 28", "line 35"]
    assert left[5].startswith("work  40 in ") and left[6] == "done"


def test_half_a_line_is_not_overwritten() -> None:
    raw = on_terminal(COUNT % ("'work'", 40, "print('.', end='', flush=True)"))
    assert screen(raw)[0].startswith("." * 40)


def test_total_unknown() -> None:
    raw = on_terminal(COUNT % ("'work'", "None", "pass"))
    assert b"%" not in raw and b"left" not in raw
    assert screen(raw)[0].startswith("work  40 in ")


def test_bar_is_taken_away_after_an_error() -> None:
    raw = on_terminal(
        "from ergon.progress import track\n"
        "import time\n"
        "for i in track(range(9), 'work'):\n"
        "    time.sleep(0.06)\n"
        "    if i == 5: raise ValueError('odd')\n"
    )
    left = screen(raw)
    assert left[0] == "Traceback (most recent call last):", left
    assert left[-2] == "ValueError: odd"
    assert not any("work" in line and "%" in line for line in left)


def test_bar_is_taken_away_after_ctrl_c() -> None:
    raw = on_terminal(
        "from ergon.progress import track\n"
        "import sys, time\n"
        "try:\n"
        "    for i in track(range(10000), 'work'): time.sleep(0.05)\n"
        "except KeyboardInterrupt:\n"
        "    print('stopped', type(sys.stdout).__name__)\n",
        interrupt_at=b"/10,000",
    )
    assert [line.removeprefix("^C") for line in screen(raw)] == ["stopped TextIOWrapper", ""]


def test_a_forgotten_bar_gives_the_streams_back() -> None:
    raw = on_terminal(
        "import gc, sys\nfrom ergon.progress import make\n"
        "bar = make(True, 10)\nwrapped = type(sys.stdout).__name__\ndel bar\ngc.collect()\n"
        "print(wrapped, type(sys.stdout).__name__)\n"
    )
    assert screen(raw)[0] == "_Above TextIOWrapper"


def test_two_at_a_time() -> None:
    raw = on_terminal(
        "from ergon.progress import make\nimport sys, time\n"
        "outer, inner = make('outer', 4), make('inner', 4)\n"
        "for i in range(1, 5): outer.update(i); inner.update(i); time.sleep(0.11)\n"
        "outer.close()\ninner.close()\nprint(type(sys.stdout).__name__)\n"
    )
    left = screen(raw)
    assert left[0].startswith("outer  4 in ") and left[1].startswith("inner: 4 in ")
    assert left[2] == "TextIOWrapper"


def test_many_threads_may_print() -> None:
    raw = on_terminal(
        "import threading, time\nfrom ergon.progress import make\nbar = make('work', 100)\n"
        "def talk(n):\n"
        "    for i in range(20): print(f'<{n}:{i}>\\n', end='')\n"
        "threads = [threading.Thread(target=talk, args=(n,)) for n in range(4)]\n"
        "[t.start() for t in threads]\n"
        "for i in range(100): bar.update(i + 1); time.sleep(0.002)\n"
        "[t.join() for t in threads]\nbar.close()\n"
    )
    left = screen(raw)
    assert sorted(left[:80]) == sorted(f"<{n}:{i}>" for n in range(4) for i in range(20))


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


def test_lines_in_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, log = Clock(monkeypatch), io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    lines = progress.make("reading", 1000)
    for done in range(1, 1001):
        clock.now += 0.1
        lines.update(done)
    lines.close(True)
    said = log.getvalue().splitlines()
    assert said[0] == "reading: 5%, 50 of 1,000, 10/s, 95 s left".replace("95 s", "1:35")
    assert said[-1] == "reading: 1,000 in 1:40, 10/s"
    assert len(said) == 21
    assert "\r" not in log.getvalue() and "\x1b" not in log.getvalue()


def test_a_slow_log_speaks_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, log = Clock(monkeypatch), io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    lines = progress.make(True, None)
    for done in range(1, 61):
        clock.now += 1
        lines.update(done)
    lines.close(False)
    said = log.getvalue().splitlines()
    assert said[:2] == ["10, 1.0/s", "20, 1.0/s"]
    assert said[-1] == "60, stopped after 1:00" and len(said) == 7


def test_a_quick_map_says_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    with_bar = list(progress.track(range(500), "quick"))
    assert with_bar == list(range(500))
    assert log.getvalue().splitlines() == ["quick: 500 in 0.0 s"]


def test_a_log_that_is_gone_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    lines = progress.make(True, 10)
    log.close()
    lines.update(5)
    lines.close(True)


def test_a_function_is_told() -> None:
    told: list[tuple[int, int | None]] = []
    display = progress.make(lambda done, total: told.append((done, total)), 5)
    for done in (1, 3, 3, 5):
        display.update(done)
    display.close(True)
    assert told == [(1, 5), (3, 5), (5, 5)]


def test_what_a_function_raises_passes() -> None:
    display = progress.make(lambda done, total: 1 // 0, 5)
    with pytest.raises(ZeroDivisionError):
        display.update(1)


def test_no_progress_and_wrong_progress(capfd: pytest.CaptureFixture) -> None:
    for nothing in (None, False, 0, ""):
        display = progress.make(nothing, 5)
        display.update(3)
        display.close(True)
    assert capfd.readouterr() == ("", "")
    with pytest.raises(TypeError, match="progress is True, a label or a function"):
        progress.make(7, 5)


def test_no_stderr_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    display = progress.make(True, 5)
    display.update(5)
    display.close(True)


def test_notebook_uses_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    seen = []

    class Widget:
        def __init__(self, total: int, desc: str) -> None:
            seen.append((total, desc))

        def update(self, by: int) -> None:
            seen.append(by)

        def close(self) -> None:
            seen.append("closed")

    shell = type("ZMQInteractiveShell", (), {})()
    for name, content in {
        "IPython": {"get_ipython": lambda: shell},
        "ipywidgets": {},
        "tqdm": {},
        "tqdm.notebook": {"tqdm": Widget},
    }.items():
        module = types.ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    display = progress.make("cells", 10)
    display.update(4)
    display.update(10)
    display.close(True)
    display.close(True)
    assert seen == [(10, "cells"), 4, 6, "closed"]


def test_updates_are_cheap() -> None:
    """Ten thousand updates of a log's display cost less than ten thousand small function calls, a hundredfold."""
    import timeit

    display = progress._Lines(io.StringIO(), 10**9, None)
    ours = min(timeit.repeat(lambda: display.update(1), number=10_000, repeat=5))
    plain = min(timeit.repeat(lambda: threading.get_ident(), number=10_000, repeat=5))
    assert ours < 100 * plain


# --- maps of pools -------------------------------------------------------------------------------------------------


def slow_square(x: int) -> int:
    time.sleep(0.004)
    if x < 0:
        raise ValueError(x)
    return x * x


POOLS = ["SerialPool", "ThreadPool", "ProcessPool"]


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("method", ["map", "imap", "uimap", "amap", "starmap"])
def test_pools_tell_a_function(kind: str, method: str) -> None:
    told: list[tuple[int, int | None]] = []
    pool_type = getattr(ergon, kind)
    with pool_type() if kind == "SerialPool" else pool_type(2) as pool:
        items = [(x,) for x in range(60)] if method == "starmap" else range(60)
        found = getattr(pool, method)(slow_square, items, progress=lambda *now: told.append(now))
        found = found.get() if method == "amap" else list(found)
    assert sorted(found) == [x * x for x in range(60)]
    assert told[-1] == (60, 60)
    assert [done for done, _ in told] == sorted({done for done, _ in told})


@pytest.mark.parametrize("kind", POOLS)
def test_pools_do_not_know_the_length_of_generators(kind: str) -> None:
    told: list[tuple[int, int | None]] = []
    pool_type = getattr(ergon, kind)
    with pool_type() if kind == "SerialPool" else pool_type(2) as pool:
        list(pool.imap(slow_square, (x for x in range(40)), progress=lambda *now: told.append(now)))
    assert told[-1][0] == 40 and told[0][1] is None


@pytest.mark.parametrize("kind", POOLS)
def test_the_last_word_comes_before_the_futures_callbacks(kind: str) -> None:
    told: list[object] = []
    pool_type = getattr(ergon, kind)
    with pool_type() if kind == "SerialPool" else pool_type(2) as pool:
        future = pool.amap(slow_square, (x for x in range(40)), progress=lambda *now: told.append(now))
        future.add_done_callback(lambda future: told.append("done"))
        future.result()
    assert told[-2:] == [(40, None), "done"]


@pytest.mark.parametrize("kind", POOLS)
def test_pools_close_the_display(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    pool_type = getattr(ergon, kind)
    with pool_type() if kind == "SerialPool" else pool_type(2) as pool:
        pool.map(slow_square, range(30), progress="good")
        with pytest.raises(ValueError):
            pool.map(slow_square, [1, 2, -3, 4], progress="bad")
        pool.options(progress="view").map(slow_square, range(10))
    good, bad, view = log.getvalue().splitlines()
    assert good.startswith("good: 30 in ") and view.startswith("view: 10 in ")
    assert re.match(r"bad: \d of 4, stopped after ", bad)


def test_a_map_on_a_terminal() -> None:
    raw = on_terminal(
        "import ergon, time\n"
        "def f(x):\n    time.sleep(0.01)\n    return x\n"
        "with ergon.ProcessPool(2) as pool:\n"
        "    print(sum(pool.map(f, range(100), progress='squares')))\n"
    )
    left = screen(raw)
    assert left[0].startswith("squares  100 in ") and left[1] == "4950"
    assert "━".encode() in raw


def test_ctrl_c_in_a_map_on_a_terminal() -> None:
    raw = on_terminal(
        "import ergon, sys, time\n"
        "def f(x):\n    time.sleep(0.05)\n    return x\n"
        "with ergon.ProcessPool(2) as pool:\n"
        "    pool.map(f, range(2))\n"  # imports are over: debug CPython 3.11 aborts when Ctrl-C meets its os.stat
        "    try:\n        pool.map(f, range(10000), progress='long')\n"
        "    except KeyboardInterrupt:\n        print('stopped', type(sys.stdout).__name__)\n"
        "    print(pool.map(f, range(3)))\n",
        interrupt_at=b"/10,000",
    )
    left = [line.removeprefix("^C") for line in screen(raw)]
    assert left == ["stopped TextIOWrapper", "[0, 1, 2]", ""], left
