"""What a program has set in its own modules, for the worker processes of a pool.

Workers import modules; what the program put there since they were imported (``conf.DEBUG = True``, an entry of a table, an
attribute of a class, a function in another one's place) would be missing. It goes along when a pool is opened: the values as
they are then, as a fork would have them. A worker compares them with its own when it has imported the module, and sets
those that differ.

Only data goes along: not what holds on to something outside of the process (locks, files, connections), nor random number
generators; of those each worker has its own.
"""

import sys
import types

from . import _core, _whose

__all__ = ["install", "snapshot"]

LARGEST = 64 << 20  # bytes of a module's values
_ITEMS = 1_000  # looked at in a list, tuple, set or dict
_OBJECTS = 20_000  # looked at in a value
_RESOURCE = ("__enter__", "__aenter__", "__del__", "close", "fileno", "acquire")  # who has one of these is no data
_NO_DATA = frozenset(
    {"weakref", "_weakref", "threading", "_thread", "multiprocessing", "asyncio", "_asyncio", "contextvars"}
)

# --- here: what travels ---------------------------------------------------------------------------------------------


def snapshot():
    """{name of a module: (what was set, as bytes)}, or None where the program has no modules of its own."""
    found = {}
    for name, module in list(sys.modules.items()):
        if _whose._is_user(module) and _whose._by_reference(name) is module and module.__name__ == name:
            found[name] = _pickled(*_collected(name, module))
    return found or None


def _collected(name, module):
    """([(path, name)], [value]) of what could have been set in a module, its classes and functions."""
    places, values = [], []
    todo = [("", key, value, 0) for key, value in list(vars(module).items())]
    for path, key, value, depth in todo:
        if key.startswith("__") or isinstance(value, (property, *_whose._DESCRIPTORS)):
            continue
        inner = _inside_of(name, path, key, value)
        if inner is not None:  # what the module itself has put there: only what is set on it
            if depth < 4:
                todo.extend((_whose._joined(path, key), *item, depth + 1) for item in list(inner.items()))
        elif _is_data(value):
            places.append((path, key))
            values.append(value)
    return places, values


def _inside_of(module, path, key, value):
    """The attributes of a class or function that is the module's own, at its own place; else None."""
    value = _whose._inner(value)
    if not isinstance(value, (type, types.FunctionType)):
        return None
    if value.__module__ != module or value.__qualname__ != _whose._joined(path, key):
        return None
    return vars(value)


def _is_data(value):
    seen, todo = set(), [value]
    for one in todo:
        kind = type(one)
        if kind in _whose._ATOMS or id(one) in seen or isinstance(one, (type, types.FunctionType, types.ModuleType)):
            continue
        seen.add(id(one))
        if len(seen) > _OBJECTS:
            break
        if kind in (list, tuple, set, frozenset):
            todo.extend(each for _, each in zip(range(_ITEMS), list(one), strict=False))
        elif kind is dict:
            todo.extend(each for _, each in zip(range(_ITEMS), list(one.values()), strict=False))
        elif (
            kind.__module__.partition(".")[0] in _NO_DATA
            or _whose._is_random(one)
            or any(hasattr(kind, name) for name in _RESOURCE)
        ):
            return False
        else:
            todo.extend(_whose._inside(one).values())
    return True


def _pickled(places, values):
    """(places, pickle of their values) without those that cannot be pickled, or are too large."""
    try:
        data = _core.dumps(values)
        if len(data) <= LARGEST:
            return places, data
    except Exception:
        pass
    good, room = [], LARGEST
    for place, value in zip(places, values, strict=True):
        try:
            size = len(_core.dumps(value))
        except Exception:  # workers have one of their own
            continue
        if size <= room:
            room -= size
            good.append((place, value))
    try:
        return [place for place, _ in good], _core.dumps([value for _, value in good])
    except Exception:  # it changes meanwhile
        return [], _core.dumps([])


# --- in a worker ----------------------------------------------------------------------------------------------------

_pending: dict = {}  # name of a module -> what was set there
_late: list = []  # names of modules whose values name something that another module has yet to define
_then: dict = {}  # name of a module -> what is to be called when it was imported


def install(state, then):
    """From now on what was set in the owner's modules is set when they are imported here. then: {name of another module: what
    is to be called when that was imported}."""
    _pending.update(state)
    _then.update(then)
    sys.meta_path.insert(0, _Finder())
    for name in [name for name in (*_pending, *_then) if name in sys.modules]:
        _settle(name)


class _Finder:
    def find_spec(self, name, path=None, target=None):
        if name not in _pending and name not in _then:
            return None
        for finder in list(sys.meta_path):
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader)
                return spec
        return None


class _Loader:
    """In the place of a module's loader until it has been found."""

    def __init__(self, loader):
        self._loader = loader

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def create_module(self, spec):
        create = getattr(self._loader, "create_module", None)
        return create(spec) if create else None

    def exec_module(self, module):
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _settle(module.__spec__.name)


def _settle(name):
    if (then := _then.pop(name, None)) is not None:
        then()
    if name in _pending:
        _late.append(name)
    for each in _late[:]:
        if each in _late and _apply(each) and each in _late:
            _late.remove(each)


_NOTHING = _whose  # what no module has as a value


def _read(name, path, key):
    owner = _whose._found(name, path)
    return (
        vars(owner).get(key, _NOTHING) if isinstance(owner, (type, types.ModuleType, types.FunctionType)) else _NOTHING
    )


def _apply(name):
    """True: done; False: to be tried again when another module was imported."""
    places, data = _pending[name]
    now = [_read(name, *place) for place in places]
    try:
        same = _core.dumps(now) == data
    except Exception:  # something of the module's own cannot be pickled, and was not with its owner
        same = False
    if not same:
        try:
            values = _core.loads(data)
        except Exception:
            return False
        _set(name, places, now, values)
    _pending.pop(name, None)
    return True


def _set(name, places, now, values):
    from . import _around

    wanted = [_core.digest(value) for value in values]
    known = {}
    for one, digest in zip(now, wanted, strict=True):
        known.setdefault(id(one), set()).add(digest)
    for place, one, value, digest in zip(places, now, values, wanted, strict=True):
        try:
            same = _core.digest(one) == digest
        except Exception:
            same = False
        try:
            if not same:
                _around._write((name, *place), value, known)
        except Exception:  # what cannot be set here could not be set there
            continue
