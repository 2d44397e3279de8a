"""The configuration file: ``ergon.conf`` or ``pydron.conf``, JSON with the key ``workers``.

It is looked for in ``$ERGON_CONF``, ``$PYDRON_CONF``, ``./ergon.conf``, ``./pydron.conf``, the same two names in the
home directory and in ``/etc``.
"""

import json
import os
import re

from .errors import ConfigError

__all__ = ["find", "load", "resources", "workers"]

_NAMES = ("ergon.conf", "pydron.conf")


def find():
    """The path of the configuration file, or None."""
    for variable in ("ERGON_CONF", "PYDRON_CONF"):
        path = os.environ.get(variable)
        if path:
            if not os.path.isfile(path):
                raise ConfigError(f"${variable} names {path!r}, which is no file")
            return path
    for folder in (os.curdir, os.path.expanduser("~"), "/etc"):
        for name in _NAMES:
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                return path
    return None


_STRING_OR_COMMA = re.compile(r'"(?:[^"\\\n]|\\.)*"|,(?=\s*[\]}])')


def _without_trailing_commas(text):
    return _STRING_OR_COMMA.sub(lambda m: " " if m.group() == "," else m.group(), text)


def load(path):
    """What the file says. ConfigError names line and column."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    try:
        content = json.loads(_without_trailing_commas(text))
    except json.JSONDecodeError as error:
        words = error.msg
        if "escape" in words.lower():
            words += r"; a backslash inside a string is written twice: C:\\Users"
        raise ConfigError(f"{path}, line {error.lineno}, column {error.colno}: {words}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected an object with the key 'workers', got {type(content).__name__}")
    return content


def workers():
    """The list under ``workers`` of the configuration file; None without a file."""
    path = find()
    if path is None:
        return None
    entries = load(path).get("workers")
    if entries is None:
        return None
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: 'workers' must be a list, not {type(entries).__name__}")
    resources(entries, where=f"{path}: ")
    return entries


def _cores(entry, where):
    cores = entry.get("cores")
    if cores is None:
        return None
    if isinstance(cores, bool) or not isinstance(cores, int) or cores < 1:
        raise ConfigError(f"{where}'cores' must be a whole number of at least 1, not {cores!r}")
    return cores


def resources(entries, where=""):
    """The resources of ``Pool(...)`` that the entries of ``workers`` stand for."""
    if not isinstance(entries, (list, tuple)):
        raise ConfigError(f"{where}'workers' must be a list, not {type(entries).__name__}")
    found = []
    for number, entry in enumerate(entries):
        at = f"{where}workers[{number}]: "
        if isinstance(entry, str):
            found.append(entry)
            continue
        if not isinstance(entry, dict):
            raise ConfigError(f'{at}expected an object such as {{"type": "multicore"}}, not {entry!r}')
        kind = entry.get("type")
        if kind not in ("multicore", "threads", "serial"):
            raise ConfigError(f"{at}type {kind!r} is not available here; use 'multicore', 'threads' or 'serial'")
        cores = _cores(entry, at)
        name = {"multicore": "local", "threads": "threads", "serial": "serial"}[kind]
        found.append(f"{name}:{cores}" if cores and kind != "serial" else name)
    return found
