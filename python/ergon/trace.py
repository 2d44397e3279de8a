"""What every task did: when it was queued, started and ended, where, and how many bytes it moved.

    with ergon.trace.record("run.trace.json"):
        pool.map(f, items)

The file is in the format of Chrome's tracing and of Perfetto; ``ergon report run.trace.json`` makes a page of it.
``ergon run --trace FILE SCRIPT`` records a whole program without a change to it. docs/trace.md describes the format.
"""

import contextlib
import json
import os
import sys
import time
from typing import NamedTuple

from . import _core
from .errors import ErgonError

__all__ = ["Event", "clear", "events", "record", "report", "save", "section", "start", "stop"]


class Event(NamedTuple):
    """One entry of the record. Times are nanoseconds of the monotonic clock; 0 where something never happened."""

    kind: str
    pool: int
    worker: int
    worker_name: str
    task: int
    function: str
    items: int
    queued_ns: int
    start_ns: int
    end_ns: int
    bytes_in: int
    bytes_out: int
    outcome: str


_sections: list = []


def start():
    """Begin to record, in addition to what has been recorded already. Every pool of this process takes part."""
    _core.trace_start()


def stop():
    """End the recording; what was recorded is kept."""
    _core.trace_stop()


def clear():
    """Forget everything recorded so far, and the sections. A recording that runs goes on, empty."""
    _core.trace_clear()
    _sections.clear()


def events():
    """Everything recorded so far, as a list of `Event`."""
    return [Event(*entry) for entry in _core.trace_events()]


def section(title, rows=(), *, columns=None, kind="table", note=""):
    """Add a finding of the program to the report.

    ``kind`` is ``"table"`` (``rows`` of cells, ``columns`` their headings), ``"bars"`` (rows of label and number),
    ``"facts"`` (rows of label and value, shown large), or ``"text"`` (rows of paragraphs).
    """
    if kind not in ("table", "bars", "facts", "text"):
        raise ValueError(f"kind of a section is 'table', 'bars', 'facts' or 'text', not {kind!r}")
    cells = [[row] if isinstance(row, str) else [_cell(cell) for cell in row] for row in rows]
    headings = None if columns is None else [str(column) for column in columns]
    for row in cells:
        if kind == "bars" and not (len(row) == 2 and isinstance(row[1], (int, float))):
            raise ValueError(f"a row of bars is a label and a number, not {row!r}")
        if kind == "facts" and len(row) != 2:
            raise ValueError(f"a row of facts is a label and a value, not {row!r}")
        if kind == "table" and headings is not None and len(row) != len(headings):
            raise ValueError(f"{len(headings)} columns, but a row of {len(row)} cells: {row!r}")
    _sections.append({"title": str(title), "kind": kind, "columns": headings, "rows": cells, "note": str(note)})


def save(path):
    """Write everything recorded so far to ``path``, as JSON that Perfetto, chrome://tracing and ``ergon report`` read."""
    path = os.fspath(path)
    partial = f"{path}.{os.getpid()}.part"
    try:
        with open(partial, "w", encoding="utf-8") as stream:
            _write(stream, events())
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise


@contextlib.contextmanager
def record(path=None):
    """Record what happens inside the ``with`` block and, when a path is given, save it there, even after an exception."""
    start()
    try:
        yield sys.modules[__name__]
    finally:
        stop()
        if path is not None:
            save(path)


def report(trace, output=None):
    """Make the HTML page of a trace file with ``ergon report`` and return the page's path."""
    import subprocess

    trace = os.fspath(trace)
    output = os.fspath(output) if output is not None else os.path.splitext(trace)[0] + ".html"
    words = [command(), "report", "-o", output, "--", trace]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise ErgonError(done.stderr.strip() or f"ergon report ended with status {done.returncode}")
    return output


def command():
    """The path of the ``ergon`` command that belongs to this interpreter: $ERGON_COMMAND, beside it, or on PATH."""
    import shutil

    beside = os.path.join(os.path.dirname(sys.executable or ""), "ergon")
    for path in (os.environ.get("ERGON_COMMAND"), beside, shutil.which("ergon")):
        if path and os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    raise ErgonError(
        f"the ergon command is neither {beside} nor on PATH: install ergon, or set ERGON_COMMAND to its path"
    )


def autostart():
    """Record this process and save at its end when $ERGON_TRACE names a file, as ``ergon run --trace`` arranges.

    The variable is taken out of the environment: the programs this one starts do not record.
    """
    path = os.environ.pop("ERGON_TRACE", None)
    if path:
        import atexit

        atexit.register(_finish, path)
        start()


def _finish(path):
    stop()
    try:
        save(path)
    except OSError as error:
        print(f"ergon: cannot save the trace: {error}", file=sys.stderr)


def _cell(value):
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return value if value == value and abs(value) != float("inf") else str(value)


# --- the file -----------------------------------------------------------------------------------------------

_WAITS = 20_000  # as many tasks get an arrow of their own for the time they waited; the figure is always there


def _write(stream, found):
    """One line an event, so that a long trace is never held as one string."""
    found = _numbered(found)
    zero = min((e.queued_ns or e.start_ns or e.end_ns for e in found), default=0)
    dump = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
    stream.write('{"displayTimeUnit":"ms","otherData":' + dump(_about()) + ",\n")
    stream.write('"ergon":' + dump({"format": 1, "sections": _sections}) + ',\n"traceEvents":[')
    between = "\n"
    for entry in _names(found):
        stream.write(between + dump(entry))
        between = ",\n"
    waits = sum(1 for e in found if e.start_ns and e.queued_ns) <= _WAITS
    for event in found:
        for entry in _entries(event, zero, waits):
            stream.write(between + dump(entry))
            between = ",\n"
    stream.write("\n]}\n")


def _numbered(found):
    """The events in the order in which their tasks were queued, pools and tasks counted from 1 in that order."""
    pools, tasks, ordered = {}, {}, []
    for event in sorted(found, key=lambda e: e.queued_ns or e.start_ns or e.end_ns):
        pool = pools.setdefault(event.pool, len(pools) + 1)
        task = tasks.setdefault((pool, event.task), len(tasks) + 1)
        ordered.append(event._replace(pool=pool, task=task))
    return ordered


def _about():
    from . import __version__

    return {
        "program": _program(),
        "recorded": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "host": os.uname().nodename,
        "cores": len(os.sched_getaffinity(0)),
        "python": sys.version.split()[0],
        "ergon": __version__,
    }


def _program():
    path = next(iter(getattr(sys, "argv", ())), "")
    folder, name = os.path.split(path)
    if name == "__main__.py":  # python -m package
        name = os.path.basename(folder)
    return name if name not in ("", "-", "-c", "-m") else "python"


def _names(found):
    seen = {}
    for event in found:
        seen.setdefault((event.pool, event.worker), event.worker_name)
    for pool in sorted({pool for pool, _ in seen}):
        yield {"ph": "M", "name": "process_name", "pid": pool, "tid": 0, "args": {"name": f"pool {pool}"}}
    for (pool, worker), name in sorted(seen.items()):
        yield {
            "ph": "M",
            "name": "thread_name",
            "pid": pool,
            "tid": worker,
            "args": {"name": name or f"worker {worker}"},
        }
        yield {"ph": "M", "name": "thread_sort_index", "pid": pool, "tid": worker, "args": {"sort_index": worker}}


def _entries(event, zero, waits):
    """The trace events of one entry: the run of a task, and the time it waited before; or an instant."""
    where = {"pid": event.pool, "tid": event.worker}
    if event.start_ns and event.end_ns:
        begin, waited = event.start_ns - zero, 0
        if event.queued_ns:
            waited = max(0, event.start_ns - event.queued_ns)
        args = {
            "task": event.task,
            "items": event.items,
            "wait_us": waited / 1000,
            "bytes_in": event.bytes_in,
            "bytes_out": event.bytes_out,
            "outcome": event.outcome or "ok",
        }
        lasted = max(0, event.end_ns - event.start_ns) / 1000
        yield {
            "ph": "X",
            "cat": "task",
            "name": event.function,
            **where,
            "ts": begin / 1000,
            "dur": lasted,
            "args": args,
        }
        if waits and waited:
            same = {"cat": "wait", "name": "queued", "id": f"{event.pool}.{event.task}", "pid": event.pool, "tid": 0}
            yield {"ph": "b", **same, "ts": (event.queued_ns - zero) / 1000}
            yield {"ph": "e", **same, "ts": begin / 1000}
    else:
        at = (event.end_ns or event.start_ns or event.queued_ns) - zero
        args = {"task": event.task, "function": event.function, "outcome": event.outcome}
        yield {"ph": "i", "s": "t", "cat": event.kind, "name": event.kind, **where, "ts": at / 1000, "args": args}
