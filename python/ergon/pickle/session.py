"""The state of a module, `__main__` unless said otherwise, in a file: to go on later, or elsewhere.

    dump_module("state.pkl")                  # everything the main module has
    load_module("state.pkl")                  # puts it into the main module

Objects that were imported from other modules are saved by reference where that is how they are pickled anyway, and
all of them with refimported=True, which is for what cannot be pickled, or must not be copied.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import stat
import sys
import tempfile
import types
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

__all__ = ["dump_module", "dump_session", "load_module", "load_module_asdict", "load_session"]


def _home(name: str = "") -> Any:
    """The package this module belongs to: it exists in more than one (see aliases/dill)."""
    return importlib.import_module(__name__.rpartition(".")[0] + name)


class SecurityWarning(UserWarning):
    """A file lies where others may write."""


TEMPDIR = tempfile.gettempdir()

# What is known to be imported under another name: objects of these types, or whose module is one of these.
IMPORTED_AS_TYPES: tuple[type, ...] = (
    ModuleType,
    type,
    types.FunctionType,
    types.MethodType,
    types.BuiltinMethodType,
)
IMPORTED_AS_MODULES = tuple(
    re.compile(name) for name in ("ctypes", "typing", "subprocess", "threading", r"concurrent\.futures(\.\w+)?")
)


# --- what was imported ----------------------------------------------------------------------------------------------------


class _Imports:
    """Where the objects of all modules that are loaded can be imported from."""

    def __init__(self, main: ModuleType) -> None:
        self.by_name: dict[str, list[tuple[Any, str]]] = {}
        self.by_id: dict[int, list[tuple[Any, str, str]]] = {}
        self.modules: dict[int, str] = {}
        for name, module in list(sys.modules.items()):
            if not isinstance(module, ModuleType) or module is main or name in ("__main__", "__mp_main__"):
                continue
            self.modules.setdefault(id(module), name)
            for key, value in list(vars(module).items()):
                self.by_name.setdefault(key, []).append((value, name))
                self.by_id.setdefault(id(value), []).append((value, key, name))

    def find(self, name: str, obj: Any) -> tuple[str, str] | None:
        """(module, name there), if the object looks imported."""
        for value, module in self.by_name.get(name, ()):
            if value is obj:
                return module, name
        module_name = getattr(obj, "__module__", None)
        named = isinstance(module_name, str) and any(known.fullmatch(module_name) for known in IMPORTED_AS_MODULES)
        if named or isinstance(obj, IMPORTED_AS_TYPES):
            for value, key, module in self.by_id.get(id(obj), ()):
                if value is obj:
                    return module, key
        return None


def _stash_modules(main_module: ModuleType) -> ModuleType:
    """A module like it in which names of imported objects are lists of where to find them; itself if there are none."""
    imports = _Imports(main_module)
    stand_in = ModuleType(main_module.__name__)
    kept: dict[str, Any] = {}
    imported: list[tuple[str, str]] = []
    imported_as: list[tuple[str, str, str]] = []
    top_level: list[tuple[str, str]] = []
    for name, obj in vars(main_module).items():
        if obj is main_module:
            kept[name] = stand_in
        elif obj is vars(main_module):
            kept[name] = vars(stand_in)
        elif obj is None or obj is True or obj is False or (name.startswith("__") and name.endswith("__")):
            kept[name] = obj
        elif isinstance(obj, ModuleType):
            if id(obj) in imports.modules:
                top_level.append((imports.modules[id(obj)], name))
            else:
                kept[name] = obj
        else:
            found = imports.find(name, obj)
            if found is None:
                kept[name] = obj
            elif found[1] == name:
                imported.append(found)
            else:
                imported_as.append((*found, name))
    if len(kept) == len(vars(main_module)):
        return main_module
    vars(stand_in).update(kept)
    lists = {"imported": imported, "imported_as": imported_as, "imported_top_level": top_level}
    vars(stand_in).update({f"__dill_{key}": value for key, value in lists.items()})
    return stand_in


def _restore_modules(module: ModuleType) -> None:
    """Imports what the lists say."""
    space = vars(module)
    for source, name in space.pop("__dill_imported", ()):
        space[name] = getattr(importlib.import_module(source), name)
    for source, original, name in space.pop("__dill_imported_as", ()):
        space[name] = getattr(importlib.import_module(source), original)
    for source, name in space.pop("__dill_imported_top_level", ()):
        space[name] = importlib.import_module(source)


# --- files -------------------------------------------------------------------------------------------------------------------


def _default_file() -> str:
    path = os.path.join(TEMPDIR, "session.pkl")
    warnings.warn(f"{path} lies where others may write: give a file name", SecurityWarning, stacklevel=5)
    return path


def _check(path: Any, strict: bool) -> bool:
    """Whether the file exists. PermissionError: it is a link, or (strict) not a file of the user's own."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(found.st_mode):
        raise PermissionError(
            f"{os.fspath(path)!r} is a symbolic link, which is not followed: give the file it leads to"
        )
    if strict and (not stat.S_ISREG(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != os.getuid())):
        raise PermissionError(f"{os.fspath(path)!r} is not a file of yours")
    return True


@contextlib.contextmanager
def _opened(filename: Any, mode: str) -> Iterator[Any]:
    if hasattr(filename, "read" if mode == "rb" else "write"):
        yield filename
        return
    default = filename is None
    path = _default_file() if default else filename
    exists = _check(path, default)
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    if mode == "rb":
        flags |= os.O_RDONLY
    elif default:
        if exists:
            os.unlink(path)
        flags |= os.O_WRONLY | os.O_CREAT | os.O_EXCL
    else:
        flags |= os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with os.fdopen(os.open(path, flags, 0o600), mode) as file:
        yield file


def _rereadable(file: Any) -> Any:
    try:
        seekable = file.seekable()
    except AttributeError:
        seekable = hasattr(file, "seek")
    return file if seekable else io.BytesIO(file.read())


# --- the functions -------------------------------------------------------------------------------------------------------------


def _module(module: Any) -> ModuleType:
    if module is None:
        module = "__main__"
    if isinstance(module, str):
        return sys.modules.get(module) or importlib.import_module(module)
    if not isinstance(module, ModuleType):
        raise TypeError(f"{module!r} is neither a module nor the name of one")
    return module


def dump_module(filename: Any = None, module: Any = None, refimported: bool = False, **kwds: Any) -> None:
    """Saves the state of a module (or of the module with this name; `__main__` if not given).

    `filename` is a path or an open binary file; a file in the temporary folder, with a warning, if not given. With
    `refimported` everything that was imported is saved as where to import it from. Other keywords go to the pickler.
    """
    if "main" in kwds:  # its name in dump_session
        module = kwds.pop("main")
    main = _module(module)
    saved = _stash_modules(main) if refimported else main
    state = io.BytesIO()  # what is in the file stays there until there is something to put in its place
    _home("._session").save(state, saved, main, **kwds)
    with _opened(filename, "wb") as file:
        file.write(state.getbuffer())


def load_module(filename: Any = None, module: Any = None, **kwds: Any) -> ModuleType | None:
    """Puts the state that was saved into the module it is of, or into `module`, which must have the same name.

    A module that cannot be imported (one made by a program) is made anew, and returned; otherwise None is.
    """
    if "main" in kwds:
        module = kwds.pop("main")
    backend = _home("._session")
    with _opened(filename, "rb") as file:
        file = _rereadable(file)
        name, made = backend.identify(file)
        returned = None
        if module is None and made:
            target = returned = ModuleType(name)
        else:
            target = _module(name if module is None else module)
            if target.__name__ != name:
                raise ValueError(f"this is the state of module {name!r}, which cannot go into {target.__name__!r}")
        backend.load(file, target, **kwds)
        _restore_modules(target)
    return returned


def load_module_asdict(filename: Any = None, update: bool = False, **kwds: Any) -> dict[str, Any]:
    """The state that was saved as a dict {name: value}; no module changes.

    With `update` names that the module has now, and the file has not, are in it too.
    """
    backend = _home("._session")
    with _opened(filename, "rb") as file:
        file = _rereadable(file)
        name, _ = backend.identify(file)
        target = ModuleType(name)
        now = sys.modules.get(name)
        if now is not None:
            space = vars(now)
            keep: dict[str, Any] = (
                space if update else {key: space[key] for key in ("__builtins__", "__file__") if key in space}
            )
            vars(target).update(keep)
        backend.load(file, target, **kwds)
        _restore_modules(target)
    return vars(target)


def dump_session(filename: Any = None, main: Any = None, byref: bool = False, **kwds: Any) -> None:
    """dump_module() under its older name."""
    dump_module(filename, main, byref, **kwds)


def load_session(filename: Any = None, main: Any = None, **kwds: Any) -> None:
    """load_module() under its older name."""
    load_module(filename, main, **kwds)
