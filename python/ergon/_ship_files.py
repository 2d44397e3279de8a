"""The files of a package that was sent to a worker, as importlib.resources wants to see them."""

import io
import os
from importlib.resources.abc import Traversable, TraversableResources

__all__ = ["Node", "Reader"]


class Node(Traversable):
    """A file or folder of a package; `files`: the bytes of each, by its path in the package."""

    def __init__(self, files, path):
        self._files, self._path = files, path

    @property
    def name(self):
        return os.path.basename(self._path)

    def _below(self):
        start = self._path + "/" if self._path else ""
        return sorted({start + name[len(start) :].split("/")[0] for name in self._files if name.startswith(start)})

    def iterdir(self):
        return (Node(self._files, path) for path in self._below())

    def is_file(self):
        return self._path in self._files

    def is_dir(self):
        return not self.is_file() and bool(self._below() or not self._path)

    def joinpath(self, *names):
        return Node(self._files, "/".join(filter(None, [self._path, *map(str, names)])))

    def __truediv__(self, name):
        return self.joinpath(name)

    def open(self, mode="r", *args, **keywords):
        if self._path not in self._files:
            raise FileNotFoundError(2, "No such file in a package that was sent", self._path)
        stream = io.BytesIO(self._files[self._path])
        return stream if "b" in mode else io.TextIOWrapper(stream, *args, **keywords)


class Reader(TraversableResources):
    """What the loader of a package that was sent gives importlib.resources."""

    def __init__(self, files):
        self._files = files

    def files(self):
        return Node(self._files, "")
