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
        handlers = [_pickled(handler) for handler in list(logger.handlers)]
        whole = None not in handlers
        handlers = [data for data in handlers if data is not None]
        if level is not None or handlers or logger.disabled or not logger.propagate:
            loggers.append((logger.name, level, bool(logger.disabled), bool(logger.propagate), handlers, whole))
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
    try:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            if not any(handler.stream is stream for stream in streams):
                return None
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


_wanted: dict = {}  # name of a logger -> (what it is told, its handlers as bytes, True if those are all, they themselves)
_fresh = False  # it was installed while modules are being imported


def install(state):
    """In a worker, when it has imported logging."""
    global _fresh
    import logging

    loggers, below, captures, names = state
    for number, name in names.items():
        logging.addLevelName(number, name)
    for name, level, disabled, propagate, handlers, whole in loggers:
        logger, loaded = _logger(name), _loaded(handlers)
        _wanted[name] = (level, disabled, propagate), handlers, whole, loaded
        _tell(logger, level, disabled, propagate)
        logger.handlers[:] = [*logger.handlers, *loaded]
    logging.disable(below)
    if captures:
        logging.captureWarnings(True)
    _fresh = True


def _logger(name):
    import logging

    return logging.root if name == logging.root.name else logging.getLogger(name)


def _tell(logger, level, disabled, propagate):
    if level is not None:
        logger.setLevel(level)
    logger.disabled, logger.propagate = disabled, propagate


def _loaded(handlers):
    from . import _core

    found = []
    for data in handlers:
        try:
            found.append(_core.loads(data))
        except Exception:  # of a class that is not there (yet), a folder that is gone
            continue
    return found


def as_it_is():
    """{name of a logger: (what it is told, its handlers)} before modules are imported."""
    return {
        name: ((logger.level, logger.disabled, logger.propagate), list(logger.handlers))
        for name, logger in ((name, _logger(name)) for name in _wanted)
    }


def settle(before):
    """Modules were imported that may have told loggers what the program told them at the same occasion: handlers are not there
    twice."""
    global _fresh
    fresh, _fresh = _fresh, False
    for name, (told, handlers, whole, old) in list(_wanted.items()):
        logger = _logger(name)
        if fresh:
            wanted = old if len(old) == len(handlers) else _loaded(handlers)
        elif before and name in before:
            told, wanted = before[name]
            old = wanted
        else:
            continue
        _tell(logger, *told)
        made = _without(logger.handlers, old)
        now = [_own(one, made) for one in wanted]
        logger.handlers[:] = now if whole else [*now, *_without(made, now)]


def _without(handlers, others):
    return [one for one in handlers if not any(one is other for other in others)]


def _own(wanted, made):
    """The handler that a module has made itself, which it may know, if there is one like the one wanted."""
    import logging

    def looks(handler):
        formatter = handler.formatter
        return (
            type(handler),
            handler.level,
            handler.name,
            getattr(handler, "stream", None),
            formatter and (type(formatter), formatter._fmt, formatter.datefmt),
        )

    if not isinstance(wanted, logging.FileHandler):
        for one in made:
            if looks(one) == looks(wanted):
                return one
    return wanted
