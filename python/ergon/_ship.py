"""Modules of the user's that a host lacks: ``modules=ship``.

The sources of what lies on the module path apart from Python's own and installed packages are packed when the pool is made,
and workers there import from that what their host has not. Pure Python only.
"""

import os
import sys
import zlib

from . import _core
from .errors import ConfigError

__all__ = ["install", "pack"]

LIMIT = 900_000  # bytes, packed: it is part of the message an agent is opened with
FILES = 3000  # more than these below one folder, and only what the program has imported goes


def _roots():
    """Folders of the module path that hold the user's own modules."""
    import sysconfig

    paths = sysconfig.get_paths()
    installed = {os.path.realpath(paths[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    installed.add(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    for entry in sys.path:
        folder = os.path.realpath(entry or ".")
        own = not any(folder == place or folder.startswith(place + os.sep) for place in installed)
        if own and os.path.isdir(folder) and not {"site-packages", "dist-packages"} & set(folder.split(os.sep)):
            yield folder


def _below(root):
    """(module's name, is a package, path) of everything that can be imported from a folder."""
    for folder, folders, names in os.walk(root):
        parts = os.path.relpath(folder, root).split(os.sep) if folder != root else []
        folders[:] = [
            name
            for name in folders
            if name.isidentifier()
            and name != "__pycache__"
            and os.path.exists(os.path.join(folder, name, "__init__.py"))
        ]
        for name in names:
            stem = name.removesuffix(".py")
            if stem == name or not stem.isidentifier() or stem == "__main__" or (stem == "__init__" and not parts):
                continue
            package = stem == "__init__"
            yield ".".join(parts if package else [*parts, stem]), package, os.path.join(folder, name)


def _imported(root):
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and path.endswith(".py") and os.path.realpath(path).startswith(root + os.sep):
            if name not in ("__main__", "__mp_main__"):
                yield name, os.path.basename(path) == "__init__.py", path


def pack():
    """The bytes workers install. ConfigError when they are too many."""
    modules = {}
    for root in _roots():
        found = []
        for entry in _below(root):
            found.append(entry)
            if len(found) > FILES:
                found = list(_imported(root))
                break
        for name, package, path in found:
            if name in modules:  # an earlier folder of the path has it
                continue
            try:
                with open(path, "rb") as file:
                    modules[name] = (package, path, file.read())
            except OSError:
                continue
    data = zlib.compress(_core.dumps(modules), 9)
    if len(data) > LIMIT:
        raise ConfigError(
            f"modules=ship: {len(modules)} modules are {len(data) >> 10} KiB, and {LIMIT >> 10} can be sent: install them on "
            "the host, or start the program in a folder of its own"
        )
    return data


class _Finder:
    """Finds what nobody else has found; its own loader."""

    def __init__(self, data):
        self._data, self._modules = data, None

    def _get(self, name):
        if self._modules is None:
            self._modules = _core.loads(zlib.decompress(self._data))
        return self._modules.get(name)

    def find_spec(self, name, path=None, target=None):
        found = self._get(name)
        if found is None:
            return None
        from importlib.machinery import ModuleSpec

        spec = ModuleSpec(name, self, origin=found[1], is_package=found[0])
        spec.has_location = True
        return spec

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        _, path, source = self._get(module.__name__)
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)

    def get_source(self, name):
        """For tracebacks and inspect."""
        from importlib.util import decode_source

        found = self._get(name)
        return None if found is None else decode_source(found[2])

    def is_package(self, name):
        return self._get(name)[0]


def install(data):
    """In a worker: imports may take what was packed, after everything its host has."""
    sys.meta_path.append(_Finder(data))
