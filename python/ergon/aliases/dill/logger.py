"""The trace: what is pickled while it is pickled, as a tree with sizes.

    with dill.detect.trace():
        dill.dumps(obj)

`adapter` is the logger "dill" with a method trace(pickler, message, *args) for functions that save something: a
message begins an object, one that starts with "#" ends it.
"""

import codecs
import contextlib
import locale
import logging
import math
import os

__all__ = ["adapter", "logger", "trace"]

ASCII_MAP = str.maketrans("│├┬└", "||+`")


def _written(pickler):
    """Bytes of the stream so far; None where the pickler does not say."""
    try:
        frame = pickler.framer.current_frame
        return pickler._file.tell() + (frame.tell() if frame else 0)
    except (AttributeError, TypeError, OSError, ValueError):
        return None


class TraceAdapter(logging.LoggerAdapter):
    """The logger, with the depth of objects in one another."""

    def __init__(self, logger):
        super().__init__(logger, {})

    def addHandler(self, handler):
        handler.setFormatter(TraceFormatter("%(prefix)s%(message)s%(suffix)s", handler=handler))
        self.logger.addHandler(handler)

    def removeHandler(self, handler):
        self.logger.removeHandler(handler)

    def process(self, msg, kwargs):
        return msg, kwargs

    def trace_setup(self, pickler):
        """Called by dump(): from now on the pickler is traced, or not."""
        pickler._trace_begun = [] if self.isEnabledFor(logging.INFO) else None

    def trace(self, pickler, msg, *args, **kwargs):
        begun = getattr(pickler, "_trace_begun", None)
        if begun is None:
            return
        at = _written(pickler)
        extra = dict(kwargs.pop("extra", None) or {})
        if not msg.startswith("#"):
            begun.append(at)
            extra["depth"] = len(begun)
        elif begun:
            extra["depth"] = len(begun)
            start = begun.pop()
            if at is not None and start is not None:
                extra["size"] = at - start
        self.info(msg, *args, extra=extra, **kwargs)


class TraceFormatter(logging.Formatter):
    """Draws the tree in front of a message, and puts the size behind it."""

    def __init__(self, *args, handler=None, **kwargs):
        super().__init__(*args, **kwargs)
        encoding = getattr(getattr(handler, "stream", None), "encoding", None) or locale.getpreferredencoding(False)
        try:
            self.is_utf8 = codecs.lookup(encoding).name == "utf-8"
        except LookupError:
            self.is_utf8 = False

    def format(self, record):
        depth, size = getattr(record, "depth", 0), getattr(record, "size", None)
        prefix = suffix = ""
        if depth > 0:
            if record.msg.startswith("#"):
                prefix = "│" * (depth - 1) + "└"
            else:
                prefix = "┬" if depth == 1 else "│" * (depth - 2) + "├┬"
            prefix = (prefix if self.is_utf8 else prefix.translate(ASCII_MAP) + "-") + " "
        if size:
            power = int(math.log2(size)) // 10
            suffix = f" [{size >> power * 10} {'KMGTP'[power - 1] + 'i' if power else ''}B]"
        record.prefix, record.suffix = prefix, suffix
        return super().format(record)


logger = logging.getLogger("dill")
logger.propagate = False
adapter = TraceAdapter(logger)
stderr_handler = logging._StderrHandler()
adapter.addHandler(stderr_handler)


def trace(arg=None, *, mode="a"):
    """Switches the trace on (True) or off (False), or, in a with statement, on for its body.

    In a with statement `arg` may be an open text file or the name of one (opened in `mode`) to write to instead of
    standard error.
    """
    if isinstance(arg, bool):
        logger.setLevel(logging.INFO if arg else logging.WARNING)
        return None
    return _tracing(arg, mode)


@contextlib.contextmanager
def _tracing(target, mode):
    if target is None:
        handler = None
    elif isinstance(target, (str, os.PathLike)):
        handler = logging.FileHandler(target, mode, encoding="utf-8")
    elif hasattr(target, "write"):
        handler = logging.StreamHandler(target)
    else:
        raise TypeError(f"trace() writes to an open text file or a file's name, not to {type(target).__name__!r}")
    level = logger.level
    if handler:
        adapter.addHandler(handler)
        adapter.removeHandler(stderr_handler)
    logger.setLevel(logging.INFO)
    try:
        yield adapter
    finally:
        logger.setLevel(level)
        if handler:
            adapter.removeHandler(handler)
            adapter.addHandler(stderr_handler)
            if isinstance(target, (str, os.PathLike)):
                handler.close()
