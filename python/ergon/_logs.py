"""What a program has told ``logging``, for the worker processes of a pool: levels, and handlers that write to the standard
streams or to files, as a fork would have them.
"""

import sys

__all__ = ["install", "snapshot"]

_LARGEST = 1 << 20  # bytes of a handler


def snapshot():
    """What `install` takes, or None where nothing was set."""
    logging = sys.modules.get("logging")
    if logging is None or not hasattr(logging, "root"):
        return None
    usual = {logging.root.name: logging.WARNING}
    loggers = []
    for logger in (logging.root, *list(logging.root.manager.loggerDict.values())):
        if not isinstance(logger, logging.Logger):
            continue
        level = logger.level if logger.level != usual.get(logger.name, logging.NOTSET) else None
        handlers = [data for data in map(_pickled, list(logger.handlers)) if data is not None]
        if level is not None or handlers or logger.disabled or not logger.propagate:
            loggers.append((logger.name, level, bool(logger.disabled), bool(logger.propagate), handlers))
    below = logging.root.manager.disable
    captures = getattr(logging, "_warnings_showwarning", None) is not None
    if not loggers and not below and not captures:
        return None
    names = {number: logging.getLevelName(number) for number in list(logging._levelToName)}
    return loggers, below, captures, names


def _pickled(handler):
    """Bytes, or None: workers go without it, as without those that pytest has for the program's own output."""
    import logging

    from . import _core

    if type(handler).__module__.startswith("_pytest.") or isinstance(handler, logging.NullHandler):
        return None
    streams = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
        if not any(handler.stream is stream for stream in streams):
            return None
    try:
        data = _core.dumps(_appending(handler) if isinstance(handler, logging.FileHandler) else handler)
    except Exception:  # it has a connection, a queue, …
        return None
    return data if len(data) <= _LARGEST else None


def _appending(handler):
    """Another one for the same file, not opened yet: from now on whoever writes to that, writes at its end."""
    import copy
    import fcntl
    import os

    if handler.stream is not None:
        fd = handler.stream.fileno()
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_APPEND)
    other = copy.copy(handler)
    other.stream, other.mode = None, "a"
    return other


def install(state):
    """In a worker, when it has imported logging."""
    import logging

    from . import _core

    loggers, below, captures, names = state
    for number, name in names.items():
        logging.addLevelName(number, name)
    for name, level, disabled, propagate, handlers in loggers:
        logger = logging.root if name == logging.root.name else logging.getLogger(name)
        if level is not None:
            logger.setLevel(level)
        logger.disabled, logger.propagate = disabled, propagate
        for data in handlers:
            try:
                logger.addHandler(_core.loads(data))
            except Exception:  # of a class that is only there, a folder that is gone
                continue
    logging.disable(below)
    if captures:
        logging.captureWarnings(True)
