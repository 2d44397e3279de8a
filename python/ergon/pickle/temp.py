"""Pickles and source code in temporary files and buffers.

A file stays as long as the object returned lives; then it is deleted.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

__all__ = [
    "capture",
    "dump",
    "dumpIO",
    "dumpIO_source",
    "dump_source",
    "load",
    "loadIO",
    "loadIO_source",
    "load_source",
]


def _home(name: str = "") -> Any:
    """The package this module belongs to: it exists in more than one (see aliases/dill)."""
    return importlib.import_module((__package__ or __name__.rpartition(".")[0]) + name)


@contextlib.contextmanager
def capture(stream: str = "stdout") -> Iterator[io.StringIO]:
    """In the body of the with statement sys.<stream> is a buffer; that is what is returned."""
    if not hasattr(sys, stream):
        raise ValueError(f"there is no sys.{stream}")
    kept, buffer = getattr(sys, stream), io.StringIO()
    setattr(sys, stream, buffer)
    try:
        yield buffer
    finally:
        setattr(sys, stream, kept)


def _source_of(obj: Any, alias: str) -> str:
    source = _home(".source")
    name = alias or source.getname(obj)
    return source.importable(obj, alias=alias, source=True) + f"#NAME: {name}\n"


def _run(text: str, alias: str, where: str) -> Any:
    """Runs the code, and returns what the alias, or its last line, names."""
    lines = text.splitlines()
    if not alias:
        named = [line for line in lines if line.startswith("#NAME:")]
        if not named:
            raise ValueError(f"{where} does not say which name to load: it needs a line '#NAME: name', or alias=")
        alias = named[-1].partition(":")[2].strip()
    names: dict[str, Any] = {"__name__": "__loaded__"}
    exec(compile(text, where, "exec"), names)
    return names[alias]


def dump_source(object: Any, *, alias: str = "", prefix: str = "_", suffix: str = ".py", **kwds: Any) -> Any:
    """The source code of `object` in a temporary .py file; `alias` names it there. Returns the open file."""
    file = tempfile.NamedTemporaryFile(mode="w", prefix=prefix, suffix=suffix, encoding="utf-8", **kwds)
    file.write(_source_of(object, alias))
    file.flush()
    return file


def load_source(file: Any, *, alias: str = "", **kwds: Any) -> Any:
    """The object whose source code is in the file (open, or its name); `alias` is its name there."""
    name = getattr(file, "name", file)
    with open(name, encoding="utf-8") as opened:
        return _run(opened.read(), alias, str(name))


def dumpIO_source(object: Any, *, alias: str = "", **kwds: Any) -> io.BytesIO:
    """The source code of `object` in a buffer; `alias` names it there."""
    return io.BytesIO(_source_of(object, alias).encode())


def loadIO_source(buffer: Any, *, alias: str = "", **kwds: Any) -> Any:
    """The object whose source code the buffer holds."""
    return _run(buffer.getvalue().decode(), alias, "<buffer>")


def dump(object: Any, *, suffix: str = "", prefix: str = "", dir: str | None = None, **kwds: Any) -> Any:
    """A pickle of `object` in a temporary file. Returns the open file; keywords go to dump()."""
    file = tempfile.NamedTemporaryFile(suffix=suffix or None, prefix=prefix or None, dir=dir)
    _home().dump(object, file, **kwds)
    file.flush()
    return file


def load(file: Any, **kwds: Any) -> Any:
    """The object whose pickle is in the file (open, or its name)."""
    with open(getattr(file, "name", file), "rb") as opened:
        return _home().load(opened, **kwds)


def dumpIO(object: Any, **kwds: Any) -> io.BytesIO:
    """A pickle of `object` in a buffer, at its beginning."""
    buffer = io.BytesIO()
    _home().dump(object, buffer, **kwds)
    buffer.flush()
    return buffer


def loadIO(buffer: Any, **kwds: Any) -> Any:
    """The object whose pickle the buffer holds."""
    return _home().load(io.BytesIO(buffer.getvalue()), **kwds)
