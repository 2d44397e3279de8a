"""``python -m ergon._agent agent|server …``: the processes behind the commands `ergon agent` and `ergon server`.

They lend their interpreter: what workers run needs one. Everything else is C.
"""

import os
import sys

from . import _core
from .errors import ConfigError, ErgonError

__all__ = ["attach", "main", "protocol", "serve"]


def protocol():
    """The version of the protocol between hosts; only equal ones understand each other."""
    return _core._protocol()


def _zygote():
    from ._worker import zygote_argv

    return [arg for arg in zygote_argv() if arg != "-S"]  # workers look for modules where this host has them


def _runtime():
    from ._places import tag

    return tag(), sys.version.split()[0]


def attach(session=None, lease=0.0):
    """Serves a pool over standard input and output until that connection is over; returns the exit status.

    session: 32 hexadecimal digits: what serves is a daemon, found or started, which outlives the connection for `lease`
    seconds (0: as the pool says). None: this process, which ends with it.
    """
    _core._agent_main(_zygote(), *_runtime(), bytes.fromhex(session) if session else None, lease)
    return 0


def _key(path, host):
    """The key of a server: of the file that was named, or of the usual one, which is made on a loopback address."""
    from ._places import usual_key

    if path is None and not _core._is_local(host):
        raise ConfigError(
            f"{host} can be reached by others: name a key file with --key (ergon server --new-key FILE makes one)"
        )
    usual = usual_key()
    if path is None and not os.path.exists(usual):
        os.makedirs(os.path.dirname(usual), 0o700, exist_ok=True)
        return _core._make_key(usual)
    return _core._read_key(path or usual)


def serve(host="127.0.0.1", port=0, key=None, idle=0.0):
    """A server for pools that hold the same key, until it is stopped or nobody was there for `idle` seconds (0: for ever).

    Prints its address on stdout when it listens; returns the exit status. ConfigError, OSError.
    """

    def announce(number):
        print(f"tcp://{f'[{host}]' if ':' in host else host}:{number}", flush=True)

    return _core._server_run(host, port, _key(key, host), idle, announce, _zygote(), *_runtime())


def _options(arguments):
    """{"port": "0", …} of --port 0 or --port=0; the command line was checked by `ergon`."""
    found, rest = {}, list(arguments)
    while rest:
        name, equal, value = rest.pop(0).lstrip("-").partition("=")
        found[name] = value if equal or name == "stdio" else rest.pop(0)
    return found


def _number(options, name, kind, most):
    try:
        if 0 <= (number := kind(options.get(name, "0"))) <= most:
            return number
    except ValueError:
        pass
    what = "a port, 0 (any that is free) to 65535" if name == "port" else "a number of seconds, 0 for ever"
    raise ValueError(f"--{name} is {what}, not {options[name]!r}")


def main(command="agent", *arguments):
    """What `ergon agent` and `ergon server` become; the exit status."""
    try:
        options = _options(arguments)
        if command == "agent":
            return attach(options.get("session"), _number(options, "lease", float, 1e9))
        if "new-key" in options:
            _core._make_key(options["new-key"])
            return 0
        port, idle = _number(options, "port", int, 65535), _number(options, "idle", float, 1e9)
        if "through" in options:
            from . import _through

            if "host" in options or "key" in options:
                raise ConfigError("--through makes a key of its own, and the server listens on loopback there")
            return _through.main(options["through"], idle, port)
        return serve(options.get("host", "127.0.0.1"), port, options.get("key"), idle)
    except (ErgonError, OSError, ValueError) as error:
        print(f"ergon {command}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
