"""One end of a link, small and slow: enough of the protocol to see what an agent's process does.

What pools do with links is the engine's business; here they are made and broken by hand.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct
import subprocess
import time

from ergon import _places, _resources, _seed

HEADER = struct.Struct("<IHHQQ")
HELLO = 1


class Ended(Exception):
    """The other side closed the link."""


class Link:
    """Reaches a place ('exec:sh -c "$ERGON_AGENT"', "ssh://node", …) and says HELLO."""

    def __init__(self, resource, session=None, environ=None, hello=True, command=None):
        self.session = session or os.urandom(16)
        place = _resources.remote(resource)
        spec = _seed.bootstrap(place, self.session)
        argv = command(spec) if command else _places._reach(place, self.session)["argv"]
        self.seeded = False
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environ,
            bufsize=0,
            start_new_session=True,
        )
        with contextlib.suppress(BrokenPipeError):  # then it says why
            self._write(spec["script"])
        self._lines(spec["seed"])
        self.tag = None
        if hello:
            self.hello()

    def _lines(self, seed):
        while True:
            line = self._line()
            if line == "ERGON1 ready":
                return
            if line == "ERGON1 need":
                self.seeded = True
                with open(seed, "rb") as file:
                    data = file.read()
                self._write(struct.pack("<Q", len(data)) + data)
            elif line.startswith("ERGON1 fail "):
                self.process.wait(10)
                raise RuntimeError(line[12:])

    def _write(self, data):
        while data:
            data = data[self.process.stdin.write(data) :]

    def _line(self):
        line = b""
        while not line.endswith(b"\n"):
            line += self._read(1)
        return line.decode().rstrip("\n")

    def _read(self, n, patience=20):
        data = b""
        while len(data) < n:
            if not select.select([self.process.stdout], [], [], patience)[0]:
                raise TimeoutError("nothing came")
            more = os.read(self.process.stdout.fileno(), n - len(data))
            if not more:
                self.process.wait(10)
                raise Ended(self.process.stderr.read().decode())
            data += more
        return data

    def hello(self, received=0):
        tag = _places.tag().encode()
        body = b"ERGN" + struct.pack("<HHB16sQI", 1, 0, 1, self.session, received, len(tag)) + tag
        self._write(HEADER.pack(len(body), HELLO, 0, 0, 0) + body)
        kind, body = self.frame()
        assert kind == HELLO and body[:4] == b"ERGN"
        assert body[9:25] == self.session

    def frame(self):
        size, kind, _, _, _ = HEADER.unpack(self._read(HEADER.size))
        return kind, self._read(size)

    def hang_up(self):
        """The connection breaks: what connects is killed."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.close()

    def close(self):
        for stream in (self.process.stdin, self.process.stdout):
            stream.close()
        status = self.process.wait(20)
        self.process.stderr.close()
        return status


def daemons(session):
    """Processes on this machine that listen for a session."""
    name = f"ergon-agent-{os.getuid()}-{session.hex()}".encode()
    with open("/proc/net/unix", "rb") as table:
        inodes = {line.split()[6] for line in table if line.rstrip().endswith(b"@" + name)}
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                target = os.readlink(f"/proc/{pid}/fd/{fd}")
                if target.startswith("socket:[") and target[8:-1].encode() in inodes:
                    found.add(int(pid))
        except OSError:
            continue
    return sorted(found)


def gone(session, patience=20):
    """Waits until nobody listens for a session any more."""
    end = time.monotonic() + patience
    while found := daemons(session):
        if time.monotonic() > end:
            raise AssertionError(f"still there: {found}")
        time.sleep(0.02)
