"""A server on another host, reached through a tunnel: `ergon.ssh.Server`, and the command ``ergon server --through HOST``."""

import contextlib
import os
import select
import shlex
import sys
import time
import urllib.parse

from .errors import ConfigError, ErgonError, SshError
from .ssh import Pipe, Tunnel

__all__ = ["Server", "main"]

# The key comes on standard input and lies in a file while the server runs.
_SCRIPT = (
    "umask 077; f=$(mktemp) || exit 1; trap 'rm -f \"$f\"' EXIT; trap 'exit 143' TERM HUP INT; cat >\"$f\"; "
    'if command -v ergon >/dev/null 2>&1; then ergon server --key "$f" {options} & '
    'else {python} -m ergon._agent server --key "$f" {options} & fi; wait $!'
)


class Server:
    """``ergon server`` on a host, with a key of its own, reached through a tunnel of its own.

    >>> with ergon.ssh.Server("far") as server, ergon.Pool(server.resource) as pool:
    ...     pool.map(f, items)

    host: as for `ergon.ssh.Pipe`, also user, port, config, options, password; local: the local port of the tunnel, 0 for a
    free one; idle: the server ends when nobody was connected for so many seconds, 0: never; python: the interpreter that has
    ergon there, when the command ``ergon`` is not on its PATH. Server, tunnel and keys are gone after `close`, or when this
    program ends.
    """

    def __init__(self, host, *, local=0, idle=0.0, python="python3", **connection):
        options = f"--port 0 --idle {float(idle):g}"
        script = _SCRIPT.format(options=options, python=shlex.quote(python))
        self._key = os.urandom(32).hex()
        self._pipe = Pipe(host, script, background=True, stdin=self._key + "\n", **connection)
        if "port" in connection:
            connection["ssh_port"] = connection.pop("port")
        self._tunnel = Tunnel(host, local=local, **connection)
        self._file = None
        self.resource = None  # for Pool, once it is started

    @property
    def host(self):
        """The host, as it was given."""
        return self._pipe.host

    @property
    def pid(self):
        """The process id on the host, None before `start`."""
        return self._pipe.pid

    def start(self, timeout=60.0):
        """Starts server and tunnel; the resource. SshError, or ConfigError when the host has no ergon."""
        try:
            self._pipe.launch()
            self._tunnel.connect(port=self._port(timeout))
            # A file without a name: other programs of this user can open it, and it is gone with this one.
            self._file = os.memfd_create("ergon-key")
            os.fchmod(self._file, 0o600)
            os.write(self._file, self._key.encode() + b"\n")
            path = f"/proc/{os.getpid()}/fd/{self._file}"
        except BaseException:
            self.close()
            raise
        self.resource = f"tcp://127.0.0.1:{self._tunnel.local}?key={urllib.parse.quote(path, safe='/')}"
        return self.resource

    def _port(self, timeout):
        deadline = time.monotonic() + timeout
        while b"\n" not in self._pipe._output:
            if (status := self._pipe.status()) is not None or time.monotonic() > deadline:
                words = self._pipe.errors.strip() or f"no server within {timeout:g} seconds"
                kind = ConfigError if "ergon" in words and status not in (None, 255) else SshError
                raise kind(f"{self._pipe._where()}: {words.splitlines()[-1]}")
            time.sleep(0.01)
        return int(bytes(self._pipe._output).split(b"\n")[0].rpartition(b":")[2])

    def status(self):
        """None while the server runs, then its exit status."""
        return self._pipe.status()

    def close(self):
        """Ends the server and the tunnel."""
        self._tunnel.disconnect()
        self._pipe.close()
        self.resource = None
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def __enter__(self):
        if self.resource is None:
            self.start()
        return self

    def __exit__(self, *exc_info):
        self.close()

    def __repr__(self):
        return f"<ergon.ssh.Server on {self._pipe._where()}{'' if self.resource else ', not started'}>"


def main(host, idle=0.0, local=0):
    """What ``ergon server --through HOST`` runs: prints the resource, and ends everything when input ends."""
    import signal

    def end(signum, frame):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    server = Server(host, idle=idle, local=local)
    try:
        print(server.start(), flush=True)
        with contextlib.suppress(OSError):
            while server.status() is None:
                if select.select([sys.stdin], [], [], 0.2)[0] and not os.read(sys.stdin.fileno(), 1 << 16):
                    break
    except KeyboardInterrupt:
        return 0
    except (ErgonError, OSError) as error:
        print(f"ergon server: {error}", file=sys.stderr)
        return 1
    finally:
        server.close()
    return 0
