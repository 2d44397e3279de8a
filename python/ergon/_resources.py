"""What a pool consists of: resource strings, entries of the configuration file, and the places they stand for.

A `Place` is a host that an agent is started on or connected to. It holds a password where one was given, so it is never
turned into text as a whole.
"""

import os

from . import _core
from .errors import ConfigError

__all__ = ["Place", "remote", "set_ssh_config", "split", "ssh_config"]

_configured = None  # configure(ssh_config=...)


def ssh_config(path=None):
    """The OpenSSH configuration file to use: ``path``, configure's, $ERGON_SSH_CONFIG's, or None for OpenSSH's own."""
    path = path or _configured or os.environ.get("ERGON_SSH_CONFIG")
    return os.path.abspath(os.path.expanduser(path)) if path else None


def set_ssh_config(path):
    """What configure() was given; None takes it back."""
    global _configured
    if path is not None and not os.path.isfile(os.path.expanduser(path)):
        raise ConfigError(f"ssh_config={str(path)!r} is no file")
    _configured = None if path is None else os.fspath(path)


class Place:
    """A host with workers: how to reach it and what to use of it.

    name: as the user wrote it; kind: 'ssh', 'tcp' or 'exec'; host, user, port; slots: workers, 0 for one per core;
    threads: whether these are threads; python: the interpreter there; tmp_dir; data_ports: (first, last) or None;
    tags: names for ``resources=``; config: OpenSSH configuration file; key: key file of a server; modules:
    'ship' or None; password.
    """

    __slots__ = (
        "name",
        "kind",
        "host",
        "user",
        "port",
        "slots",
        "threads",
        "python",
        "tmp_dir",
        "data_ports",
        "tags",
        "config",
        "key",
        "modules",
        "password",
    )

    def __init__(
        self,
        name,
        kind,
        host,
        user=None,
        port=0,
        slots=0,
        threads=False,
        python=None,
        tmp_dir=None,
        data_ports=None,
        tags=(),
        config=None,
        key=None,
        modules=None,
        password=None,
    ):
        self.name, self.kind, self.host, self.user, self.port = name, kind, host, user, port
        self.slots, self.threads, self.python, self.tmp_dir = slots, bool(threads), python, tmp_dir
        self.data_ports, self.tags, self.config, self.key = data_ports, tuple(tags), config, key
        self.modules, self.password = modules, password

    def __repr__(self):
        return f"<ergon place {self.name}>"

    def __reduce__(self):
        if self.password is not None:
            raise TypeError(f"{self!r} holds a password and does not travel")
        return Place, tuple(getattr(self, field) for field in self.__slots__)


def data_ports(value, what):
    """(first, last) of ``"30000-30010"``, ``30000`` or a list of ports; None stays None."""
    if value is None or value == "":
        return None
    ports = value.split("-") if isinstance(value, str) else value
    ports = [ports] if isinstance(ports, int) else ports
    try:
        ports = [int(port) for port in ports]
    except (TypeError, ValueError):
        ports = [0]
    written = isinstance(value, str)  # first-last; a list may name each of them, in any order
    if not ports or min(ports) < 1 or max(ports) > 65535 or (written and (len(ports) > 2 or ports[0] > ports[-1])):
        raise ConfigError(f"{what}: data_ports is a port or a range such as 30000-30010, not {value!r}")
    ports.sort()
    return ports[0], ports[-1]


def _switch(value, what):
    if value.lower() not in ("0", "1", "no", "yes", "false", "true"):
        raise ConfigError(f"{what}: threads is yes or no, not {value!r}")
    return value.lower() in ("1", "yes", "true")


def _place(text, kind, count, options, user, host, port):
    modules = options.get("modules")
    if modules not in (None, "ship"):
        raise ConfigError(f"resource {text!r}: modules is 'ship' or is left out, not {modules!r}")
    config = options.get("config")
    return Place(
        text,
        kind,
        host,
        user,
        port,
        slots=count,
        threads=_switch(options.get("threads", "no"), f"resource {text!r}"),
        python=options.get("python"),
        tmp_dir=options.get("tmp_dir"),
        data_ports=data_ports(options.get("data_ports"), f"resource {text!r}"),
        tags=tuple(tag for tag in options.get("tags", "").split(",") if tag),
        config=ssh_config(config) if kind == "ssh" else None,
        key=options.get("key"),
        modules=modules,
    )


def remote(text):
    """The Place of ``"host"``, ``"user@host:8"`` as RemotePool takes them (a number of workers behind the colon), or of a
    whole resource such as ``"ssh://host:22?slots=8"``."""
    if isinstance(text, Place):
        return text
    if not isinstance(text, str):
        raise TypeError(f"a host is a string such as 'user@host:8', not {type(text).__name__}")
    if "://" in text or text.startswith("exec:"):
        kind, count, options, user, host, port = _core._parse_resource(text)
        if kind not in ("ssh", "tcp", "exec"):
            raise ConfigError(f"{text!r} is no host")
        return _place(text, kind, count, options, user, host, port)
    name, _, query = text.partition("?")
    bracket = name.rfind("]")
    colon = name.rfind(":")
    slots = ""
    if colon > bracket:
        name, slots = name[:colon], name[colon + 1 :]
        if not slots.isascii() or not slots.isdigit() or not 0 < int(slots) <= 1000:
            raise ConfigError(f"{text!r}: what follows the colon must be a number of workers, 1 to 1000")
        query = f"slots={slots}&{query}"
    place = _place(text, *_core._parse_resource(f"ssh://{name}?{query}" if query else f"ssh://{name}"))
    return place


def split(resources, cores):
    """(processes, threads, places) of what ``Pool`` was given; ``cores()`` is asked where no number is given."""
    processes = threads = 0
    places = []
    for resource in resources:
        if isinstance(resource, dict):
            from . import config

            resource = config.resources([resource])[0]
        if isinstance(resource, Place):
            places.append(resource)
            continue
        kind, count, options, user, host, port = _core._parse_resource(resource)
        if kind in ("ssh", "tcp", "exec"):
            places.append(_place(resource, kind, count, options, user, host, port))
            continue
        if options:
            raise ConfigError(f"resource {resource!r}: {kind} takes no options, got {', '.join(sorted(options))}")
        if kind == "local":
            processes += count or cores()
        else:
            threads += count or (1 if kind == "serial" else cores())
    return processes, threads, places
