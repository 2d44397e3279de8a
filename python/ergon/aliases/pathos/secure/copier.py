"""Copies from, to and between hosts."""

import glob
import os

from ..connection import Pipe as _Pipe
from ..connection import _words
from .connection import ssh_words

__all__ = ["FileNotFound", "Copier"]


class FileNotFound(Exception):
    """A source or destination makes no sense."""


class Copier(_Pipe):
    """A copy, through `launcher` (default scp) with `options`.

    >>> copier = Copier(source="~/foo.txt", destination="remote.host.edu:")
    >>> copier.launch()
    """

    _names = {
        **_Pipe._names,
        "source": "source",
        "destination": "destination",
        "launcher": "launcher",
        "options": "options",
    }
    _shown = ("source", "destination", "launcher", "options", "background", "stdin", "codec")

    def __init__(self, name=None, **kwds):
        """source, destination - 'path' or 'host:path' (a source may be several, as in a shell); launcher - 'scp' or 'cp';
        options - for it; the others as for pathos.connection.Pipe."""
        self.launcher = kwds.pop("launcher", "scp")
        self.options = kwds.pop("options", "")
        self.source = kwds.pop("source", ".")
        self.destination = kwds.pop("destination", ".")
        super().__init__(name, **kwds)

    def config(self, **kwds):
        """Change source, destination, launcher, options, background, decode or stdin; what they are, as a dict."""
        if "command" in kwds:
            raise KeyError("command")
        self._take(kwds)
        self.message = f"{self.launcher} {self.options} {self.source} {self.destination}"
        return {name: getattr(self, name) for name in self._shown}

    __call__ = config

    def _line(self):
        sources = [path for word in _words(self.source) for path in _paths(word)]
        (destination,) = _words(self.destination) or [""]
        if not sources or not destination:
            raise FileNotFound(f"nothing to copy: {self.message}")
        return [*ssh_words(self.launcher), *_words(self.options), "--", *sources, os.path.expanduser(destination)]


def _paths(word):
    """What a shell makes of a local name; a remote one is left alone."""
    if ":" in word.split("/")[0]:
        return [word]
    word = os.path.expanduser(word)
    return sorted(glob.glob(word)) or [word]
