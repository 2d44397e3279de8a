"""The configuration file: ``ergon.conf`` or ``pydron.conf``, JSON with the key ``workers``.

It is looked for in ``$ERGON_CONF``, ``$PYDRON_CONF``, ``./ergon.conf``, ``./pydron.conf``, the same two names in the
home directory and in ``/etc``. Entries of ``workers``:

``{"type": "multicore", "cores": 4}``, ``threads``, ``serial``
    workers of this machine
``{"type": "ssh", "hostname": "a", "username": …, "password": …, "tmp_dir": …, "data_ports": …, "cores": …}``
    a host; only ``type`` and ``hostname`` are needed. Also ``port``, ``python``, ``ssh_config``, ``tags``, ``modules``
``"ssh://user@host?slots=8"``
    any resource as ``ergon.Pool`` takes it
"""

import os

from .errors import ConfigError

__all__ = ["find", "load", "resources", "workers"]

_NAMES = ("ergon.conf", "pydron.conf")
_KINDS = {"multicore": "local", "threads": "threads", "serial": "serial"}
_SECRETS = ("password", "accesskey", "secret")
_SSH_KEYS = {
    *("type", "hostname", "username", "password", "tmp_dir", "data_ports", "cores"),
    *("port", "python", "ssh_config", "tags", "modules"),
}


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


def _without_trailing_commas(text):
    import re

    return re.sub(r'"(?:[^"\\\n]|\\.)*"|,(?=\s*[\]}])', lambda m: " " if m.group() == "," else m.group(), text)


def load(path):
    """What the file says. ConfigError names line and column."""
    import json

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
    """The list under ``workers`` of the configuration file; None without a file.

    Warns when a file that holds a password can be read by other users.
    """
    path = find()
    if path is None:
        return None
    entries = load(path).get("workers")
    if entries is None:
        return None
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: 'workers' must be a list, not {type(entries).__name__}")
    resources(entries, where=f"{path}: ")
    _warn_if_readable(path, entries)
    return entries


def _warn_if_readable(path, entries):
    secret = [key for entry in entries if isinstance(entry, dict) for key in _SECRETS if entry.get(key)]
    mode = os.stat(path).st_mode
    if secret and mode & 0o077:
        import warnings

        who = "other users" if mode & 0o007 else "its group"
        warnings.warn(f"{path} holds a secret ({secret[0]!r}) and is open to {who}: chmod 600 {path}", stacklevel=3)


def _cores(entry, where):
    cores = entry.get("cores")
    if cores is None:
        return None
    if isinstance(cores, bool) or not isinstance(cores, int) or cores < 1:
        raise ConfigError(f"{where}'cores' must be a whole number of at least 1, not {cores!r}")
    return cores


def _text(entry, key, where, default=None):
    value = entry.get(key, default)
    if value is None or value == "":
        return default
    if not isinstance(value, str):
        raise ConfigError(f"{where}{key!r} must be a string, not {value!r}")
    return value


def _ssh(entry, where):
    """The Place of an entry of type ssh."""
    from . import _core, _resources

    hostname = _text(entry, "hostname", where)
    if hostname is None:
        raise ConfigError(f"{where}an entry of type 'ssh' needs the key 'hostname'")
    if unknown := sorted(set(entry) - _SSH_KEYS):
        import warnings

        known = ", ".join(sorted(_SSH_KEYS - {"type"}))
        warnings.warn(f"{where}unknown key {unknown[0]!r} is ignored; known are {known}", stacklevel=5)
    port = entry.get("port")
    if port is not None and (isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536):
        raise ConfigError(f"{where}'port' must be a number from 1 to 65535, not {port!r}")
    bare = f"[{hostname}]" if hostname.count(":") > 1 else hostname
    # The same rules for names as in resource strings.
    _, _, _, user, host, named_port = _core._parse_resource(f"ssh://{bare}")
    tags = entry.get("tags") or ()
    if isinstance(tags, str):
        tags = [tag for tag in tags.split(",") if tag]
    if entry.get("modules") not in (None, "ship"):
        raise ConfigError(f"{where}'modules' is \"ship\" or left out, not {entry['modules']!r}")
    return _resources.Place(
        hostname,
        "ssh",
        host,
        _text(entry, "username", where, user),
        port or named_port,
        slots=_cores(entry, where) or 0,
        python=_text(entry, "python", where),
        tmp_dir=_text(entry, "tmp_dir", where),
        data_ports=_resources.data_ports(entry.get("data_ports"), where.rstrip(": ")),
        tags=tags,
        config=_resources.ssh_config(_text(entry, "ssh_config", where)),
        modules=entry.get("modules"),
        password=_text(entry, "password", where),
    )


def resources(entries, where=""):
    """The resources of ``Pool(...)`` that the entries of ``workers`` stand for: strings, and objects for hosts."""
    if not isinstance(entries, (list, tuple)):
        raise ConfigError(f"{where}'workers' must be a list, not {type(entries).__name__}")
    found = []
    for number, entry in enumerate(entries):
        at = f"{where}workers[{number}]: "
        if isinstance(entry, str):
            found.append(_checked(entry, at))
            continue
        if not isinstance(entry, dict):
            raise ConfigError(f'{at}expected an object such as {{"type": "multicore"}}, not {entry!r}')
        kind = entry.get("type")
        if kind == "ssh":
            found.append(_ssh(entry, at))
            continue
        if kind not in _KINDS:
            known = ", ".join(repr(name) for name in (*_KINDS, "ssh"))
            raise ConfigError(f"{at}type {kind!r} is not available here; known are {known}")
        cores = _cores(entry, at)
        name = _KINDS[kind]
        found.append(f"{name}:{cores}" if cores and kind != "serial" else name)
    return found


def _checked(text, where):
    from . import _core

    try:
        _core._parse_resource(text)
    except ConfigError as error:
        raise ConfigError(f"{where}{error}") from None
    return text
