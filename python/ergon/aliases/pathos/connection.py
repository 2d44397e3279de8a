"""Commands of this machine's shell, and their output."""

import os
import random
import select
import shlex
import signal
import string
import subprocess
import sys
import time

from .util import _str

__all__ = ["Pipe", "PipeException"]


class PipeException(Exception):
    """A command could not be started."""


class Pipe:
    """A shell command; `launch` starts it, `response` is its output.

    >>> pipe = Pipe(command="hostname")
    >>> pipe.launch()
    >>> print(pipe.response())
    """

    verbose = False
    _PATIENCE = 2.0  # seconds that a response of a background command is waited for

    def __init__(self, name=None, **kwds):
        """command - what to run (default: 'echo <name>'); background - do not wait for it; decode - the codec of the
        response, False for bytes; stdin - a file for its input; name - a name."""
        self.name = "".join(random.choices(string.ascii_letters, k=16)) if name is None else name
        self.background = kwds.pop("background", False)
        self.stdin = kwds.pop("stdin", sys.stdin)
        self.codec = kwds.pop("decode", "ascii")
        self.message = kwds.pop("command", f"echo {self.name}")
        self._response = self._stdout = self._process = None
        self._pid = 0
        self.config(**kwds)

    def __repr__(self):
        return f"Pipe('{self.message}')"

    _names = {"command": "message", "background": "background", "decode": "codec", "stdin": "stdin"}
    _shown = ("message", "background", "stdin", "codec")

    def config(self, **kwds):
        """Change command, background, decode or stdin; what they are, as a dict."""
        self._take(kwds)
        return {name: getattr(self, name) for name in self._shown}

    def _take(self, kwds):
        if self.stdin is None:
            self.stdin = sys.stdin
        for key, value in kwds.items():
            if key in self._names:
                setattr(self, self._names[key], value)
        self._stdout = None

    __call__ = config

    def launch(self):
        """Start the command."""
        self._response = None
        self._reap()
        self._execute()

    def _line(self):
        """What to start: a line for the shell, or a list of words."""
        return self.message

    def _execute(self):
        line = self._line()
        try:
            stdin = self.stdin
            if not hasattr(stdin, "fileno") or not _has_descriptor(stdin):
                stdin = subprocess.DEVNULL
            self._process = subprocess.Popen(
                line,
                shell=isinstance(line, str),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if self.background else None,
                start_new_session=self.background,
            )
        except OSError as error:
            raise PipeException(f"failure to pipe: {self.message}: {error}") from None
        self._stdout = self._process.stdout
        self._pid = self._process.pid if self.background else 0

    def response(self):
        """What the command wrote. In the background: what it wrote within two seconds, None if that was nothing."""
        if self._stdout is None:
            raise PipeException("'launch' is required after any reconfiguration")
        codec = "ascii" if self.codec is True else self.codec or False
        if self._response is None:
            self._response = self._some() if self._pid > 0 else self._stdout.read()
            if self._pid <= 0:
                self._reap()
        return _str(self._response, codec)

    def _some(self):
        found, deadline = None, time.monotonic() + self._PATIENCE
        while (left := deadline - time.monotonic()) > 0 and select.select([self._stdout], [], [], left)[0]:
            found = found or b""
            if not (chunk := os.read(self._stdout.fileno(), 1 << 16)):
                break
            found += chunk
        return found

    def pid(self):
        """The process id of a background command, otherwise 0."""
        return self._pid

    def kill(self):
        """End a background command and what it started."""
        if self._pid > 0:
            if self.verbose:
                print(f"Kill pid={self._pid}")
            try:
                os.killpg(self._pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
            self._pid = 0
            self._reap(5)

    def _reap(self, patience=None):
        process, self._process = self._process, None
        if process is not None and (self._pid <= 0 or process.poll() is not None):
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            process.stdout.close()
        elif process is not None:
            _others.append(process)  # still running, and this pipe starts another one

    def __del__(self):
        if self._process is not None and self._process.poll() is not None:
            self._process.stdout.close()


_others = []


def _has_descriptor(file):
    try:
        file.fileno()
    except (OSError, ValueError, AttributeError):
        return False
    return True


def _words(text):
    return shlex.split(text) if isinstance(text, str) else [str(word) for word in text]
