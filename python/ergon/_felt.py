"""What the program has set for its whole process and functions feel without naming it: rights of new files, limits of
resources, the time zone, the registries of libraries in C. `read` is asked again when one of the functions that change it was
called (core/flow/notice.c counts those). What only few functions ask for is in `ASKED`: those are called in place.
"""

import _locale
import os
import sys

from . import _core

#: module -> functions that tell what a worker has otherwise: who names them is called in place
ASKED = {
    "faulthandler": {"is_enabled"},
    "gc": {"isenabled", "get_threshold", "get_debug", "get_freeze_count"},
    "posix": {"getpriority", "umask"},
    "resource": {"getrlimit"},
    "signal": {"getsignal", "getitimer", "default_int_handler"},
    "sys": {"getswitchinterval"},
}
ASKED["os"] = ASKED["posix"]
ASKED["_signal"] = ASKED["signal"]
_STREAMS = frozenset({"print", "stdout", "stderr"})
_STATED = frozenset({"argv", "tracebacklimit", "dont_write_bytecode"})
_SYS = frozenset(vars(sys))  # as Python began it

LOCALE = _locale.setlocale(_locale.LC_ALL, None)  # what a process begins with, here and in workers

_usual: dict = {}  # as workers find it
_seen = None  # (count of changes, what was read)
_streams = (sys.stdout, sys.stderr)  # before the program puts others there


def asks(module, names):
    """Whether a function with these names asks the module for what workers have otherwise."""
    return not ASKED.get(module, frozenset()).isdisjoint(names)


def is_asked(function):
    """It is such a function of a library in C."""
    return getattr(function, "__name__", None) in ASKED.get(getattr(function, "__module__", None), ())


def of_sys(names):
    """Names of module sys that are the program's, not the machine's."""
    return {name for name in names & vars(sys).keys() if name in _STATED or name not in _SYS}


def prints_elsewhere(names):
    """A function with these names writes to a stream the program has put in the place of what it began with."""
    return (sys.stdout, sys.stderr) != _streams and not _STREAMS.isdisjoint(names)


# --- what is felt ------------------------------------------------------------------------------------------------


def _umask():
    try:
        with open("/proc/self/status", "rb") as status:
            for line in status:
                if line.startswith(b"Umask:"):
                    return int(line[6:], 8)
    except OSError:
        pass
    return None


def _limits():
    import resource

    kinds = sorted({getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")})
    return {kind: resource.getrlimit(kind) for kind in kinds}


def _zone():
    """What times are called, at moments that tell zones apart; and TZ: which zone it is if nothing of this does."""
    import time

    moments = (-1_500_000_000, -900_000_000, 0, 15_000_000, 500_000_000, 1_000_000_000, 1_720_000_000)
    there = [time.localtime(moment) for moment in moments]
    here = (*time.tzname, time.timezone, time.altzone, time.daylight)
    return (*here, *((t.tm_gmtoff, t.tm_zone) for t in there)), os.environ.get("TZ")


def _timeout():
    socket = sys.modules.get("_socket")
    return socket.getdefaulttimeout() if socket is not None else None


def _csv():
    csv = sys.modules.get("_csv")
    if csv is None:
        return None
    parts = (
        "delimiter",
        "doublequote",
        "escapechar",
        "lineterminator",
        "quotechar",
        "quoting",
        "skipinitialspace",
        "strict",
    )
    usual = ("excel", "excel-tab", "unix")
    dialects = {
        name: {part: getattr(csv.get_dialect(name), part) for part in parts}
        for name in csv.list_dialects()
        if name not in usual
    }
    limit = csv.field_size_limit()
    return None if limit == 131072 and not dialects else (limit, dialects)


def began():
    """Workers are being started: what there is now they have as well."""
    global _seen
    _seen = None
    _usual.clear()
    _usual.update(read(), csv=None, timeout=None)


def read():
    """Name -> value of all of it."""
    global _seen
    zone = _zone()  # the environment is no function's
    count = _core._flow_noticed()
    if _seen is None or _seen[0] != count:
        found = {"umask": _umask(), "limits": _limits(), "timeout": _timeout(), "csv": _csv()}
        _seen = _core._flow_noticed(), found
    return {**_seen[1], "zone": zone}


def usual(name):
    return _usual.get(name)


def is_tight(limits):
    """Less is allowed here than workers may have; they might not even work with so little."""
    before = _usual.get("limits", limits)

    def number(limit):
        return float("inf") if limit < 0 else limit

    return any(
        number(soft) < number(before[kind][0]) or hard != before[kind][1]
        for kind, (soft, hard) in limits.items()
        if kind in before
    )


# --- in a worker ---------------------------------------------------------------------------------------------------


class Unlike(Exception):
    """This worker cannot be made like the program."""


def _set_umask(value):
    if value is not None:
        os.umask(value)


def _set_limits(value):
    import resource

    from . import _worker

    if _worker._elsewhere:
        return
    for kind, (soft, _) in value.items():
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (soft, hard))


def _set_zone(value):
    import time

    from . import _worker

    if _worker._elsewhere or _zone()[0] == value[0]:
        return
    time.tzset()
    if _zone()[0] != value[0]:
        raise Unlike


def _set_timeout(value):
    import socket

    socket.setdefaulttimeout(value)


def _set_csv(value):
    import csv

    limit, dialects = value or (131072, {})
    for name in set(csv.list_dialects()) - {"excel", "excel-tab", "unix", *dialects}:
        csv.unregister_dialect(name)
    for name, parts in dialects.items():
        csv.register_dialect(name, **parts)
    csv.field_size_limit(limit)


SETTERS = {
    "umask": _set_umask,
    "limits": _set_limits,
    "zone": _set_zone,
    "timeout": _set_timeout,
    "csv": _set_csv,
}
