import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, Literal, NamedTuple

__all__ = ["Event", "clear", "events", "record", "report", "save", "section", "start", "stop"]

class Event(NamedTuple):
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

def start() -> None: ...
def stop() -> None: ...
def clear() -> None: ...
def events() -> list[Event]: ...
def section(
    title: object,
    rows: Iterable[str | Sequence[Any]] = (),
    *,
    columns: Iterable[object] | None = None,
    kind: Literal["table", "bars", "facts", "text"] = "table",
    note: object = "",
) -> None: ...
def save(path: str | os.PathLike[str]) -> None: ...
def record(path: str | os.PathLike[str] | None = None) -> AbstractContextManager[ModuleType]: ...
def report(trace: str | os.PathLike[str], output: str | os.PathLike[str] | None = None) -> str: ...
def command() -> str: ...
def autostart() -> None: ...
