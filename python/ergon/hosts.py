"""Hosts: what is known about them, and a look at what they are like now.

>>> ergon.hosts.register("far", profile=".bash_profile")
>>> for host in ergon.hosts.look(["far", "near"]):
...     print(host)
"""

import os
import sys
import threading
import time

from . import _resources
from .errors import ErgonError, SshError

__all__ = ["Host", "configured", "get_profile", "get_profiles", "look", "register", "register_profiles", "unregister"]

_profiles: dict[str, str] = {}
_lock = threading.Lock()


def register(host, profile):
    """Says which shell file, relative to the home directory, commands of `ergon.ssh.Pipe` on ``host`` read first."""
    register_profiles({host: profile})


def register_profiles(profiles):
    """`register` for each host and profile of a mapping."""
    for host, profile in dict(profiles).items():
        if not isinstance(host, str) or not isinstance(profile, str):
            raise TypeError(f"a host and its profile are strings, not {host!r} and {profile!r}")
    with _lock:
        _profiles.update(profiles)


def unregister(host):
    """Forgets a host; nothing if it was not registered."""
    with _lock:
        _profiles.pop(host, None)


def get_profile(host):
    """The profile that was registered for a host, None without one."""
    return _profiles.get(host)


def get_profiles():
    """A copy of all that was registered."""
    with _lock:
        return dict(_profiles)


def configured():
    """The hosts of the configuration file, as objects that `look` and ``ergon.Pool`` take."""
    from . import config

    if config.find() is None:
        return []
    return _resources.split(config.resources(config.workers() or ()), lambda: 1)[2]


class Host:
    """What `look` found: ``name`` as it was given, ``reachable``, ``error`` (why not, in ssh's words), ``hostname``,
    ``system``, ``cores``, ``load`` (average of the last minute), ``memory_bytes`` (available), ``python`` (version, '' for
    none), ``ergon`` (its version there, '' for none), ``connect_s``, ``latency_s`` (round trip over the open connection),
    ``bandwidth`` (bytes a second towards the host)."""

    _fields = {
        "name": "",
        "reachable": False,
        "error": "",
        "hostname": "",
        "system": "",
        "cores": 0,
        "load": 0.0,
        "memory_bytes": 0,
        "python": "",
        "ergon": "",
        "connect_s": 0.0,
        "latency_s": 0.0,
        "bandwidth": 0.0,
    }

    def __init__(self, **found):
        for field, default in self._fields.items():
            setattr(self, field, found.get(field, default))

    def asdict(self):
        """All of it as a dict."""
        return {field: getattr(self, field) for field in self._fields}

    def __repr__(self):
        if not self.reachable:
            return f"<ergon host {self.name}: not reachable: {self.error}>"
        return (
            f"<ergon host {self.name}: {self.cores} cores, load {self.load:.2f}, Python {self.python or 'none'}, "
            f"{self.latency_s * 1e3:.1f} ms>"
        )


# Says what the host is like, sends lines back, then counts bytes. One line: login shells differ.
_SCRIPT = (
    'p=$1; echo "hostname $(uname -n)"; echo "system $(uname -sm)"; '
    'echo "cores $(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)"; '
    'read -r l rest 2>/dev/null </proc/loadavg && echo "load $l"; '
    "while read -r k v u; do case $k in MemAvailable:) echo memory $v;; esac; done 2>/dev/null </proc/meminfo; "
    'echo "python $("$p" -c "import platform; print(platform.python_version())" 2>/dev/null)"; '
    'echo "ergon $("$p" -c "import ergon; print(ergon.__version__)" 2>/dev/null)"; '
    "echo ready; "
    'while read -r word; do case $word in ping) echo pong;; *) head -c "$word" >/dev/null; echo got;; esac; done'
)
_FACTS = {"hostname": str, "system": str, "cores": int, "load": float, "python": str, "ergon": str}


class _Look(threading.Thread):
    """Looks at one host."""

    def __init__(self, host, timeout):
        super().__init__(daemon=True)
        from . import ssh

        self.place = ssh._place(host)
        self.found = {"name": getattr(host, "name", host)}
        self.timeout = timeout
        self.program = ssh._Program(self.place.password)
        self.late = False

    def run(self):
        from . import ssh

        watch = threading.Timer(self.timeout, self._too_late)
        watch.daemon = True
        try:
            user, port, config = self.place.user, self.place.port, self.place.config
            name, words = ssh._words(self.place.host, "ssh", user, port, config, (), self.place.password is not None)
            python = self.place.python or "python3"
            line = "exec " + ssh.shlex.join(["sh", "-c", _SCRIPT, "ergon", python])
            start = time.perf_counter()
            self.program._start([*words, "--", name, line])
            watch.start()
            self._talk(start)
        except Exception as error:
            self.found["error"] = str(error)
        finally:
            watch.cancel()
            self.program._stop()

    def _too_late(self):
        self.late = True
        self.program._process.kill()

    def _line(self):
        line = self.program._process.stdout.readline().decode(errors="replace")
        if not line:
            raise SshError(self._why())
        return line.rstrip("\n")

    def _why(self):
        if self.late:
            return f"no answer within {self.timeout:g} seconds"
        lines = self.program._process.stderr.read().decode(errors="replace").strip().splitlines()
        return "\n".join(lines[-5:]) or "the connection was closed"

    def _say(self, data):
        try:
            self.program._process.stdin.write(data)
            self.program._process.stdin.flush()
        except OSError:
            raise SshError(self._why()) from None

    def _talk(self, start):
        first = True
        while (line := self._line()) != "ready":
            if first:
                self.found["connect_s"] = time.perf_counter() - start
                first = False
            key, _, value = line.partition(" ")
            if key in _FACTS and value:
                self.found[key] = _FACTS[key](value)
            elif key == "memory":
                self.found["memory_bytes"] = int(value) * 1024
        trips = []
        for _ in range(10):
            begin = time.perf_counter()
            self._say(b"ping\n")
            self._line()
            trips.append(time.perf_counter() - begin)
        self.found["latency_s"] = latency = min(trips)
        self.found["bandwidth"] = self._measure(latency)
        self.found["reachable"] = True

    def _measure(self, latency):
        """More bytes until they take a while; what a round trip takes is taken off."""
        size = 1 << 16
        while True:
            data = os.urandom(min(size, 1 << 20)) * max(1, size >> 20)
            begin = time.perf_counter()
            self._say(b"%d\n" % len(data))
            self._say(data)
            self._line()
            took = max(time.perf_counter() - begin - latency, 1e-6)
            if took > 0.1 or size >= 1 << 26:
                return len(data) / took
            size *= 8


def look(hosts=None, timeout=15.0):
    """Looks at hosts, all at once: a list of `Host`, in the order given.

    hosts: names as ``ssh`` takes them, ``ssh://`` resources, or those of the configuration file (default). What cannot be
    reached within ``timeout`` seconds says why. Each look runs a short shell command and sends at most some megabytes.
    """
    hosts = configured() if hosts is None else [hosts] if isinstance(hosts, str) else list(hosts)
    threads = []
    for host in hosts:
        place = host if isinstance(host, _resources.Place) else None
        if place is not None and place.kind != "ssh":
            threads.append(Host(name=place.name, error="not reached by ssh"))
            continue
        threads.append(_Look(host, timeout))
    for thread in threads:
        if isinstance(thread, _Look):
            thread.start()
    found = []
    for thread in threads:
        if isinstance(thread, _Look):
            thread.join()
            thread = Host(**thread.found)
        found.append(thread)
    return found


def _rate(bytes_a_second):
    for unit in ("B", "kB", "MB", "GB"):
        if bytes_a_second < 1000 or unit == "GB":
            return f"{bytes_a_second:.0f} {unit}/s"
        bytes_a_second /= 1000


def _table(found):
    rows = [("host", "cores", "load", "memory", "python", "ergon", "latency", "bandwidth")]
    for host in found:
        if host.reachable:
            rows.append(
                (
                    host.name,
                    str(host.cores),
                    f"{host.load:.2f}",
                    f"{host.memory_bytes / 2**30:.1f} GiB",
                    host.python or "none",
                    host.ergon or "none",
                    f"{host.latency_s * 1e3:.2f} ms",
                    _rate(host.bandwidth),
                )
            )
        else:
            rows.append((host.name, "not reachable: " + host.error.splitlines()[-1]))
    widths = [max(len(row[i]) for row in rows if len(row) == len(rows[0])) for i in range(len(rows[0]))]
    widths[0] = max(len(row[0]) for row in rows)
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows
    )


def _main(arguments):
    """What ``ergon hosts`` runs."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="ergon hosts",
        description="Who is reachable, with cores, load, free memory, Python, latency and bandwidth.",
        epilog="Without hosts, those of the configuration file. The status is 1 when one of them cannot be reached.",
    )
    parser.add_argument(
        "hosts", nargs="*", metavar="HOST", help="a name as ssh takes it, user@name, or ssh://user@name:22"
    )
    parser.add_argument("-F", "--config", metavar="FILE", help="the configuration file for OpenSSH")
    parser.add_argument("-t", "--timeout", type=float, default=15.0, metavar="SECONDS", help="how long to wait (15)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    try:
        if options.config:
            _resources.set_ssh_config(options.config)
        found = look(options.hosts or None, options.timeout)
    except (ErgonError, OSError) as error:
        print(f"ergon hosts: {error}", file=sys.stderr)
        return 1
    if options.json:
        import json

        print(json.dumps([host.asdict() for host in found], indent=2))
    elif found:
        print(_table(found))
    else:
        print("ergon hosts: no hosts: name some, or list them in ergon.conf", file=sys.stderr)
        return 1
    return 0 if all(host.reachable for host in found) else 1


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
