"""What a program has set in its own modules, for the worker processes of a pool.

Workers import modules; what the program put there since they were imported (``conf.DEBUG = True``, an entry of a table, an
attribute of a class, a function in another one's place) would be missing. It goes along when a pool is opened: the values as
they are then, as a fork would have them. A worker compares them with its own when it has imported the module, and sets
those that differ.

Only data goes along: not what holds on to something outside of the process (locks, files, connections), nor the standard
random number generators; of those each worker has its own.
"""

import _thread
import sys
import types

from . import _core, _whose

__all__ = ["install", "snapshot"]

LARGEST = 64 << 20  # bytes of a module's values
_ITEMS = 1_000  # looked at in a list, tuple, set or dict
_OBJECTS = 20_000  # looked at in a value
_RESOURCE = ("__del__", "fileno")  # who has one of these is no data
_LOCK = ("__aenter__", "acquire", "release")  # the same if it is a value of its own, and not in a container with others
_NO_DATA = frozenset({"weakref", "_weakref", "multiprocessing", "asyncio", "_asyncio", "contextvars", "subprocess"})

# --- here: what travels ---------------------------------------------------------------------------------------------


def snapshot():
    """{name of a module: (what was set, as bytes)}, or None where the program has no modules of its own."""
    found = {}
    for name, module in list(sys.modules.items()):
        try:
            own = _whose._is_user(module) and _whose._by_reference(name) is module and module.__name__ == name
            if own:
                found[name] = _pickled(*_collected(name, module))
        except Exception:  # it does not like to be asked: workers have what its import makes
            continue
    return found or None


def _collected(name, module):
    """([(path, name)], [value]) of what could have been set in a module, its classes and functions."""
    places, values = [], []
    todo = [("", key, value, 0) for key, value in list(vars(module).items())]
    for path, key, value, depth in todo:
        try:
            if type(key) is not str or key.startswith("__") or _is_odd(value):
                continue
            inner = _inside_of(name, path, key, value)
            if inner is not None:  # what the module itself has put there: only what is set on it
                if depth < 4:
                    todo.extend((_whose._joined(path, key), *item, depth + 1) for item in list(inner.items()))
            elif not _is_part(name, key, value) and _is_data(value):
                places.append((path, key))
                values.append(value)
        except Exception:  # the same
            continue
    return places, values


def _is_part(module, key, value):
    """A module of the package, which its import puts there."""
    return isinstance(value, types.ModuleType) and value.__name__ == f"{module}.{key}"


def _is_odd(value):
    """Nothing that is set, or a stand-in: to ask that for its class, or to pickle it, would be to ask what it stands for."""
    kind = type(value)
    if issubclass(kind, (property, *_whose._DESCRIPTORS)):
        return True
    return kind not in _whose._ATOMS and any("__class__" in vars(base) for base in kind.__mro__[:-1])


def _inside_of(module, path, key, value):
    """The attributes of a class or function that is the module's own, at its own place; else None."""
    value = _whose._inner(value)
    if not isinstance(value, (type, types.FunctionType)):
        return None
    if value.__module__ != module or value.__qualname__ != _whose._joined(path, key):
        return None
    return vars(value)


def _is_data(value):
    seen, todo, room = set(), [value], LARGEST
    if any(hasattr(type(value), name) for name in _LOCK):
        return False
    for one in todo:
        kind = type(one)
        if kind in (bytes, str, bytearray):
            room -= len(one)
        elif kind.__name__ == "ndarray":
            room -= getattr(one, "nbytes", 0)
        if room < 0:
            return False
        if kind in _whose._ATOMS or id(one) in seen or issubclass(kind, (type, types.FunctionType, types.ModuleType)):
            continue
        seen.add(id(one))
        if len(seen) > _OBJECTS:
            break
        if kind in (list, tuple, set, frozenset):
            todo.extend(each for _, each in zip(range(_ITEMS), list(one), strict=False))
        elif kind is dict:
            todo.extend(each for _, each in zip(range(_ITEMS), list(one.values()), strict=False))
        elif (
            _is_odd(one)
            or kind.__module__.partition(".")[0] in _NO_DATA
            or _is_shared(one)
            or any(hasattr(kind, name) for name in _RESOURCE)
        ):
            return False
        else:
            todo.extend(_whose._inside(one).values())
    return True


def _is_shared(one):
    """The generator behind `random.random` or `numpy.random.rand`: each worker has one of its own."""
    if not _whose._is_random(one):
        return False
    numpy = sys.modules.get("numpy.random.mtrand")
    return one is getattr(sys.modules.get("random"), "_inst", None) or one is getattr(numpy, "_rand", None)


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


# What a module does to others when it is imported (it puts itself into a table, counts something) it has done to those of the
# owner before these were looked at: what was set there is set once more when it has been imported, with all it imports itself.

_SMALL = 1 << 20  # bytes of a module's values, for that
_here = (
    _thread._local()
)  # within: {name of a module: (places, pickle of what is wanted there)} while others are imported
_settled: dict = {}  # name of a module -> (places, what it had there itself, as bytes: None where that is no data or the same)


def _note(name, places, data, own):
    if len(data) <= _SMALL:
        _settled[name] = places, own if own is not None and len(own) <= _SMALL else None
        if getattr(_here, "within", None) is not None:
            _here.within[name] = places, data


def _take_back():
    """Modules have again what they had when they were imported; False: they have."""
    own = {name: (places, data) for name, (places, data) in _settled.items() if data is not None}
    return _set_again(own)


def _as_they_are():
    found = {}
    for name, (places, _) in list(_settled.items()):
        try:
            found[name] = places, _core.dumps([_read(name, *place) for place in places])
        except Exception:  # tasks have put something there that is no data
            continue
    return found


def _set_again(wanted):
    """True: something had to be."""
    changed = False
    for name, (places, data) in wanted.items():
        try:
            now = [_read(name, *place) for place in places]
            if _core.dumps(now) != data:
                _set(name, places, now, _core.loads(data))
                changed = True
        except Exception:  # as it is, then
            continue
    return changed


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
        if getattr(_here, "within", None) is not None:
            self._run(module)
            return
        before = _as_they_are()
        logs = sys.modules.get("ergon._logs")
        logged = logs.as_it_is() if logs else None
        _here.within = within = {}
        try:
            self._run(module)
        finally:
            _here.within = None
            _set_again({**before, **within})
            if logs := logs or sys.modules.get("ergon._logs"):
                logs.settle(logged)

    def _run(self, module):
        try:
            self._loader.exec_module(module)
        except Exception:
            if not _take_back():
                raise
            self._loader.exec_module(module)  # what it does to others may not have been done before
        _settle(module.__spec__.name)


def _settle(name):
    if (then := _then.pop(name, None)) is not None:
        then()
    if name in _pending:
        _late.append(name)
    for each in _late[:]:
        if each in _late and _apply(each):
            try:
                _late.remove(each)
            except ValueError:  # it was done on the way, or by another thread
                pass


_NOTHING = _whose  # what no module has as a value


def _read(name, path, key):
    owner = _whose._found(name, path)
    return (
        vars(owner).get(key, _NOTHING) if isinstance(owner, (type, types.ModuleType, types.FunctionType)) else _NOTHING
    )


def _apply(name):
    """True: done; False: to be tried again when another module was imported."""
    if (pending := _pending.get(name)) is None:  # another thread has
        return True
    places, data = pending
    now = [_read(name, *place) for place in places]
    own = None
    try:
        own = _core.dumps(now)
    except Exception:  # something of the module's own cannot be pickled, and was not with its owner
        pass
    same = own == data
    if not same:
        try:
            values = _core.loads(data)
        except Exception:
            return False
        _set(name, places, now, values)
    _pending.pop(name, None)
    _note(name, places, data, None if same else own)
    return True


def _digest(value):
    try:
        return _core.digest(value)
    except Exception:
        return None


def _set(name, places, now, values):
    wanted = [_digest(value) for value in values]
    known = {}
    for one, digest in zip(now, wanted, strict=True):
        known.setdefault(id(one), set()).add(digest)
    for place, one, value, digest in zip(places, now, values, wanted, strict=True):
        try:
            if digest is None or _digest(one) != digest:
                from . import _around  # not before: that takes as long as all else a worker has to import

                _around._write((name, *place), value, known)
        except Exception:  # what cannot be set here could not be set there
            continue
