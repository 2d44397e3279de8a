"""Modules of the user's that a host lacks: ``modules=ship``.

A worker that finds a module nowhere asks the pool's owner for its source. What was sent once stays as it was for the life
of the pool, so that all workers run the same. Pure Python only.
"""

import os
import sys

__all__ = ["Finder", "Modules", "install"]

LIMIT = 8 << 20  # bytes of one module's source
RESOURCES = 12 << 20  # bytes of the other files of one package: one answer (agent_ask.h says how long those can be)


def _installed():
    """Folders of the interpreter's own modules."""
    import sysconfig

    paths = sysconfig.get_paths()
    return [os.path.realpath(paths[name]) for name in ("stdlib", "platstdlib")]


def _compiled_part(folder):
    """A compiled module somewhere below a package's folder, or None."""
    from importlib.machinery import EXTENSION_SUFFIXES

    for place, _, names in os.walk(folder):
        for name in names:
            if name.endswith(tuple(EXTENSION_SUFFIXES)) or name.endswith(".so"):
                return os.path.join(place, name)
    return None


class Modules:
    """The owner's side: finds modules on its path, without importing anything."""

    def __init__(self):
        self._known = {}  # name -> answer
        self._barred = {}  # top-level name -> why it cannot travel, or None

    def find(self, name):
        """("module" | "package", path, source), ("namespace", None, None), ("refused", why, None), or None."""
        if name not in self._known:
            self._known[name] = self._find(name)
        return self._known[name]

    def _spec(self, name):
        from importlib.machinery import PathFinder

        path, spec, done = list(sys.path), None, ""
        for part in name.split("."):
            done = f"{done}.{part}" if done else part
            spec = PathFinder.find_spec(done, path)
            if spec is None:
                loaded = getattr(sys.modules.get(done), "__spec__", None)  # a finder of the user's own found it
                spec = loaded if getattr(loaded, "name", None) == done else None
            if spec is None:
                return None
            path = list(spec.submodule_search_locations or ())
        return spec

    def _find(self, name):
        top = name.partition(".")[0]
        if top in ("ergon", "__main__", "__mp_main__") or top in sys.builtin_module_names:
            return None
        if why := self._why_not(top):
            return ("refused", why, None)
        spec = self._spec(name)
        if spec is None:
            return None
        if not spec.has_location:
            return ("namespace", None, None) if spec.submodule_search_locations is not None else None
        if not spec.origin.endswith(".py"):
            return ("refused", f"{spec.origin} is compiled and cannot be sent: install it there", None)
        with open(spec.origin, "rb") as file:
            source = file.read(LIMIT + 1)
        if len(source) > LIMIT:
            return ("refused", f"{spec.origin} has more than {LIMIT >> 20} MB: install it there", None)
        kind = "module" if spec.submodule_search_locations is None else "package"
        return (kind, os.path.abspath(spec.origin), source)

    def _why_not(self, top):
        if top not in self._barred:
            self._barred[top] = self._look(top)
        return self._barred[top]

    def _look(self, top):
        spec = self._spec(top)
        if spec is None or not spec.has_location:
            return None
        if top in sys.stdlib_module_names and any(
            os.path.realpath(spec.origin).startswith(folder + os.sep) for folder in _installed()
        ):
            return f"{top} is part of Python itself, and the host's Python lacks it: install it there"
        for folder in spec.submodule_search_locations or ():
            if part := _compiled_part(folder):
                return f"{top} has compiled parts ({part}), which cannot be sent: install it there"
        return None

    def resources(self, name):
        """[(path relative to the package, bytes)] of the files of a package that are no modules."""
        found = self.find(name)
        if found is None or found[0] != "package":
            return []
        root, files, total = os.path.dirname(found[1]), [], 0
        for place, folders, names in os.walk(root):
            folders[:] = [n for n in folders if n != "__pycache__"]
            for file in names:
                path = os.path.join(place, file)
                if file.endswith((".py", ".pyc")) or not os.path.isfile(path):
                    continue
                total += os.path.getsize(path)
                if total > RESOURCES:
                    raise OSError(f"the files of package {name} have more than {RESOURCES >> 20} MB: use stage_in")
                with open(path, "rb") as data:
                    files.append((os.path.relpath(path, root), data.read()))
        return files


class Finder:
    """In a worker: finds what nobody else has found; its own loader."""

    def __init__(self):
        self._found = {}

    def _get(self, name):
        if name not in self._found:
            from ._ask import line

            wire = line()
            self._found[name] = None if wire is None else wire.ask("module", name)
        return self._found[name]

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.builtin_module_names:
            return None
        found = self._get(name)
        if found is None:
            return None
        from importlib.machinery import ModuleSpec

        kind, where, _ = found
        if kind == "refused":
            raise ModuleNotFoundError(f"No module named {name!r} on {os.uname().nodename}: {where}", name=name)
        if kind == "namespace":
            return ModuleSpec(name, None, is_package=True)
        spec = ModuleSpec(name, self, origin=where, is_package=kind == "package")
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
        return None if found is None or found[2] is None else decode_source(found[2])

    def is_package(self, name):
        return self._get(name)[0] == "package"

    def get_resource_reader(self, name):
        """For importlib.resources: the package's other files, in memory of this worker."""
        if not self.is_package(name):
            return None
        from ._ask import line
        from ._ship_files import Reader

        return Reader(dict(line().ask("resources", name)))

    def get_data(self, path):
        """For pkgutil.get_data."""
        from ._ask import line

        for name, found in self._found.items():
            folder = found and found[0] == "package" and os.path.dirname(found[1]) + os.sep
            if folder and path.startswith(folder):
                data = dict(line().ask("resources", name))
                if path[len(folder) :] in data:
                    return data[path[len(folder) :]]
        raise FileNotFoundError(2, "No such file in a package that was sent", path)


def install():
    """In a worker: imports may ask the owner, after everything its host has."""
    sys.meta_path.append(Finder())
