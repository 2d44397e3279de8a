"""Commands on another host."""

import os
import shutil
import sys
import time

from ergon import _resources
from ergon import ssh as _ssh
from ergon.errors import ErgonError

from ..connection import Pipe as _Pipe
from ..connection import PipeException, _words

__all__ = ["Pipe"]


def ssh_words(launcher):
    """The launcher, with the configuration file that $ERGON_SSH_CONFIG or ergon.configure name."""
    config = _resources.ssh_config()
    known = os.path.basename(launcher) in ("ssh", "scp", "sftp")
    return [shutil.which(launcher) or launcher] + (["-F", config] if config and known else [])


class Pipe(_Pipe):
    """A command on a host, through `launcher` (default ssh) with `options`.

    >>> pipe = Pipe(command="hostname", host="remote.host.edu")
    >>> pipe.launch()
    >>> print(pipe.response())

    The command is one argument of ssh: the remote shell alone expands what is in it, not also the local one. What
    runs in the background ends with `kill`, with this program or with its connection, whichever comes first.
    """

    _far = None

    _names = {**_Pipe._names, "host": "host", "launcher": "launcher", "options": "options", "command": "_command"}
    _shown = ("message", "host", "launcher", "options", "background", "stdin", "codec")

    def __init__(self, name=None, **kwds):
        """host - where ('user@host' too, default localhost); launcher - 'ssh' or the like; options - for it; the others
        as for pathos.connection.Pipe."""
        self.launcher = kwds.pop("launcher", "ssh")
        self.options = kwds.pop("options", "")
        self.host = kwds.pop("host", "localhost")
        self._command = kwds.get("command")
        super().__init__(name, **kwds)

    def config(self, **kwds):
        """Change host, command, launcher, options, background, decode or stdin; what they are, as a dict."""
        self._take(kwds)
        if self._command is None:
            self._command = f"echo {self.name}"
        self.message = f'{self.launcher} {self.options} {self.host} "{self._command}"'
        return {name: getattr(self, name) for name in self._shown}

    __call__ = config

    def _line(self):
        if str(self.host).startswith("-"):
            raise ValueError(f"{self.host!r} is no host")
        return [*ssh_words(self.launcher), *_words(self.options), self.host] + [self._command] * bool(self._command)

    def _is_watched(self):
        """Does ergon.ssh run it? Other launchers and ssh without a command have nothing to watch on the other side."""
        plain = os.path.basename(self.launcher) == "ssh" and self._command
        return self.background and plain and "-N" not in _words(self.options)

    def _execute(self):
        self._far = None
        if not self._is_watched():
            super()._execute()
            return
        stdin = self.stdin.read() if self.stdin is not sys.stdin and hasattr(self.stdin, "read") else b""
        options = _words(self.options)
        far = _ssh.Pipe(self.host, self._command, background=True, stdin=stdin, text=False, options=options, profile="")
        try:
            far.launch()
        except ErgonError as error:
            raise PipeException(f"failure to pipe: {self.message}: {error}") from None
        self._far = self._stdout = far
        self._pid = far._process.pid

    def _some(self):
        if self._far is None:
            return super()._some()
        deadline = time.monotonic() + self._PATIENCE
        while self._far.status() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        found = bytes(self._far._output) + bytes(self._far._errors)
        return found if found or self._far.status() is not None else None

    def kill(self):
        """End a background command and what it started."""
        if self._far is None:
            super().kill()
        elif self._pid > 0:
            if self.verbose:
                print(f"Kill pid={self._pid}")
            self._far.kill()
            self._pid = 0
