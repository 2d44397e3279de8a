"""The interface of pathos on Ergon: pools of processes, threads and servers with `map` and `pipe`."""

import logging as _logging

from ergon.aliases._legal import LICENSE as __license__  # noqa: F401
from ergon.aliases._legal import citation, license  # noqa: F401

from . import (
    connection,
    core,
    helpers,
    hosts,
    maps,
    multiprocessing,
    parallel,
    pools,
    selector,
    serial,
    server,
    threading,
    util,
)

__version__ = "0.3.5"
__author__ = "the Ergon developers"

python = serial
pp = parallel

_LAUNCHERS = {"SSH_Launcher": "Pipe", "SCP_Launcher": "Copier", "SSH_Tunnel": "Tunnel"}


def __getattr__(name):
    if name == "secure" or name in _LAUNCHERS:
        from importlib import import_module

        secure = import_module(".secure", __name__)
        return getattr(secure, _LAUNCHERS[name]) if name in _LAUNCHERS else secure
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def logger(level=None, handler=None, name="pathos"):
    """The logger of that name, with the level and the handler (default: to standard error)."""
    log = _logging.getLogger(name)
    if handler is not None:
        log.handlers = [handler]
    elif not log.handlers:
        log.addHandler(_logging.StreamHandler())
    if level is not None:
        log.setLevel(level)
    return log
