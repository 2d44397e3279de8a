"""What a functional can see besides its arguments, and how workers come to see the same.

A worker imports the modules that functions are from. What the program has set there since (names, attributes of classes,
defaults, other functions in the place of a library's), and what it has set for the whole process (the folder, the
environment, decimal's context, …) goes along with the function: as items, named by their place, each with the digest of its
value, and one pickle of all values, which a worker loads only when it has something else.

`make` is asked for a functional when it is first called, and again when something that it read has changed
(core/flow/around.c looks at every call). Random number generators are left alone: workers have their own.
"""

import contextvars
import enum
import functools
import gc
import os
import sys
import threading
import types

from . import _core, _felt, _identity, _reducers
from ._whose import (
    _ATOMS,
    _DESCRIPTORS,
    _by_reference,
    _found,
    _inner,
    _inside,
    _is_library_file,
    _is_random,
    _is_user,
    _joined,
    _outer,
    _place,
)

ENTRY, SIZE, TYPE, FUNCTION, CELL, SMALL, LARGE = range(7)  # enum witness in core/flow/around.c

_NATIVE: tuple = (
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.MethodWrapperType,
)
_SPECIAL = frozenset(
    {types.FunctionType, types.ModuleType, types.MethodType, contextvars.ContextVar, functools.partial, property}
    | {functools.cached_property, functools._lru_cache_wrapper, staticmethod, classmethod, threading.local}
    | {_core.Functional, _core.Schedule, *_NATIVE}
)
_ONE_BY_ONE = 20_000  # objects, in search of what a function may come to; then they are looked at by the thousand
_LOOKED_AT = 2_000_000  # what leads to more is called in place
_ITEMS = 1_000  # of a list, tuple, set or dict: the others are looked at by the thousand
_BOXES = frozenset({list, tuple, set, frozenset, dict})
_CHECKED = 1 << 16  # bytes: what is larger is compared only when a scheduled function begins
_NEVER = frozenset(
    {"builtins", "sys", "os", "platform", "__main__", "__mp_main__"}
)  # modules whose values are the machine's


class _Mark:
    """In the place of a value."""

    def __init__(self, name):
        self.name = name

    def __reduce__(self):
        return self.name


_ABSENT = _Mark("_ABSENT")  # the name is gone
_USUAL = _Mark("_USUAL")  # what the module itself has put there

# --- what a function may come to ----------------------------------------------------------------------------------------


def _is_constant(value):
    kind = type(value)
    if kind is tuple or kind is frozenset:
        return all(map(_is_constant, value))
    return kind in _ATOMS or isinstance(value, (type, types.FunctionType, types.ModuleType, enum.Enum, *_NATIVE))


class _Reach:
    def __init__(self):
        self.witnesses = []  # (kind, owner, key, value)
        self.items = {}  # (module, path, name) -> value
        self.usual = set()  # places where workers have the same unless they were told otherwise
        self.seen = {}  # what has been met, which it keeps alive
        self.todo = []
        self.variables = {}  # id -> context variable
        self.placed = {}  # id -> places of a context variable that is an attribute there
        self.named = set()  # what functions name
        self.here = False  # they look at what no worker has

    def run(self, roots):
        self.todo.extend((root, frozenset()) for root in roots)
        while self.todo and not self.here:
            value, names = self.todo.pop()
            if len(self.seen) < _ONE_BY_ONE or not self._is_plain(value):
                self._look(value, names)
            else:
                self._many([value], names)
        for key, variable in self.variables.items():
            self._variable(variable, self.placed.get(key, ()))

    def _variable(self, variable, places):
        """Its value, at one place wherever it was met; that it changes counts as a change of the process."""
        value = variable.get(_ABSENT)
        found = _reducers._place_of(variable)
        if found is not None:
            self.items[None, ":".join(found), "variable"] = _Variable(value, variable)
        elif places:
            self.items.update((place, _Variable(value)) for place in places)
        elif value is not _ABSENT:
            self.items[None, variable.name, "nameless"] = None

    def _look(self, value, names):
        kind = type(value)
        if kind in _ATOMS:
            return
        key = (id(value), names) if kind is types.ModuleType else id(value)
        if key in self.seen:
            return
        self.seen[key] = value
        if kind is types.FunctionType:
            self._function(value)
        elif kind is types.ModuleType:
            self._module(value, names)
        elif isinstance(value, type):
            self._class(value)
        elif kind in (list, tuple, set, frozenset):
            self._each(value, names)
        elif kind is dict:
            self._each(value.values(), names)
        elif kind is contextvars.ContextVar:
            self.variables[id(value)] = value
        elif kind is types.BuiltinFunctionType and type(value.__self__) is contextvars.ContextVar:  # its bound method
            self.todo.append((value.__self__, names))
        elif isinstance(value, (_core.Functional, _core.Schedule, staticmethod, classmethod)):
            self.todo.append((_inner(value), names))
        elif kind is types.MethodType:
            self._each((value.__func__, value.__self__), names)
        elif isinstance(value, functools.partial):
            self._each((value.func, value.args, value.keywords), names)
        elif isinstance(value, property):
            self._each((value.fget, value.fset, value.fdel), names)
        elif isinstance(value, functools.cached_property):
            self.todo.append((value.func, names))
        elif kind is functools._lru_cache_wrapper:
            self.todo.append((value.__wrapped__, names))
        elif kind is types.BuiltinFunctionType:
            self.here = self.here or _felt.is_asked(value)
        elif kind not in _NATIVE:
            self.todo.append((kind, names))
            self._each(_inside(value).values(), names)

    def _each(self, values, names):
        rest = iter(values)
        for _, one in zip(range(_ITEMS), rest, strict=False):
            if type(one) not in _ATOMS:
                self.todo.append((one, names))
        if len(values) > _ITEMS:
            self._many([one for one in rest if type(one) not in _ATOMS], names)

    def _is_plain(self, value):
        """A container, or an instance of a class that has been looked at."""
        kind = type(value)
        if kind in _BOXES:
            return True
        return id(kind) in self.seen and kind not in _SPECIAL and not issubclass(kind, type)

    def _many(self, values, names):
        """Goes through them and what is in them, for what is neither plain nor in them."""
        seen, boxes = self.seen, list(values)
        while boxes:
            inner = []
            for value in boxes:
                if id(value) in seen:
                    continue
                if self._is_plain(value):
                    seen[id(value)] = value
                    inner.append(value)
                else:
                    self.todo.append((value, names))
                    if len(self.todo) > _LOOKED_AT:
                        break
            if len(seen) > _LOOKED_AT or len(self.todo) > _LOOKED_AT:
                self.here = True
                return
            boxes = [one for one in gc.get_referents(*inner) if type(one) not in _ATOMS] if inner else ()

    def _function(self, function):
        space, code = function.__globals__, function.__code__
        module = _by_reference(space.get("__name__"))
        known = module is not None and vars(module) is space
        if _is_library_file(code.co_filename) or (known and not _is_user(module)):
            return
        names = frozenset(_identity._names(code))
        self.named |= names
        self.witnesses.append((FUNCTION, function, None, None))
        for cell in function.__closure__ or ():
            try:
                inside = cell.cell_contents
            except ValueError:
                continue
            if _is_constant(inside):
                self.witnesses.append((CELL, cell, None, inside))
            self.todo.append((inside, names))
        place = _place(function) if known else None
        for name in ("__defaults__", "__kwdefaults__"):
            value = getattr(function, name)
            if place is not None and value is not None:
                self._item(*place, name, value, function, name)
            self.todo.append((value, names))
        if place is not None:
            self._attributes(*place, function)
        self._names(space, module.__name__ if known else None, names)
        builtin = space.get("__builtins__")
        builtin = vars(builtin) if isinstance(builtin, types.ModuleType) else builtin
        if isinstance(builtin, dict):
            for name in (names & builtin.keys()) - space.keys():
                self._patch(builtin, "builtins", name, names)

    def _attributes(self, module, path, function):
        """What the program has set on a function of a module, or on the functional made of it."""
        outer = _outer(module, path)
        for one in (function, outer) if isinstance(outer, (_core.Functional, _core.Schedule)) else (function,):
            inside = vars(one)
            self.witnesses.append((SIZE, inside, None, None))
            for name, value in inside.items():
                if not name.startswith("__"):
                    self._item(module, path, name, value, inside, name)

    def _names(self, space, module, names):
        """Of a module that workers import, or (module None) of one whose functions travel with their globals."""
        if module is not None:
            self.witnesses.append((SIZE, space, None, None))
        for name in (names | {"__getattr__"}) & space.keys():
            value = space[name]
            if module is not None and not (name.startswith("__") and name.endswith("__")):
                self._item(module, "", name, value, space, name)
            elif type(value) not in _ATOMS and _is_constant(value):
                self.witnesses.append((ENTRY, space, name, value))
            self.todo.append((value, names))

    def _module(self, module, names):
        space, name = vars(module), module.__name__
        if sys.modules.get(name) is not module:
            return
        if _is_user(module):
            self._names(space, None if _by_reference(name) is None else name, names)
        elif name in _NEVER or name.startswith("ergon"):
            self.here = self.here or _felt.asks(name, names)
            for inner in _felt.of_sys(names) if name == "sys" else ():
                self._item(name, "", inner, space[inner], space, inner)
        else:
            self.here = self.here or _felt.asks(name, names)
            for inner in names & space.keys():
                value = space[inner]
                if isinstance(value, types.ModuleType):
                    self.todo.append((value, names))
                self._patch(space, name, inner, names)

    def _patch(self, space, module, name, names):
        """A library's name: it counts if it is a number or text, or was put there by somebody else."""
        value = space[name]
        kind = type(value)
        if not _is_constant(value) or name.startswith("__"):
            return
        self.witnesses.append((ENTRY, space, name, value))
        self.usual.add((module, "", name))
        if isinstance(value, types.FunctionType):
            own = (value.__module__ or "").partition(".")[0] in (module.partition(".")[0], "")
            if own or _is_library_file(value.__code__.co_filename):
                return
        elif isinstance(value, type):
            file = getattr(sys.modules.get(value.__module__), "__file__", None)
            if value.__module__ not in ("__main__", "__mp_main__") and (file is None or _is_library_file(file)):
                return
        elif kind not in _ATOMS or module == "builtins":
            return
        self.items[module, "", name] = value
        self.todo.append((value, names))

    def _class(self, cls):
        module, path = cls.__module__, cls.__qualname__
        owner = sys.modules.get(module) if isinstance(module, str) else None
        if owner is None or not (_is_user(owner) or module in ("__main__", "__mp_main__")):
            return
        self.witnesses.append((TYPE, cls, None, None))
        known = _place(cls) is not None
        names = frozenset()
        for name, value in vars(cls).items():
            plain = value.fget if isinstance(value, property) else _inner(value)
            if isinstance(value, _DESCRIPTORS) or name in ("__dict__", "__weakref__", "__module__", "__doc__"):
                continue
            if isinstance(plain, types.FunctionType):
                if known:
                    if self._replaced(plain, module, f"{path}.{name}"):
                        self.items[module, path, name] = value
                    else:
                        self.usual.add((module, path, name))
            elif known and not name.startswith("__") and not issubclass(cls, enum.Enum) and name != "_abc_impl":
                self._item(module, path, name, value, cls, name)
            self.todo.append((value, names))
        self.todo.extend((base, names) for base in (*cls.__mro__[1:], type(cls)))

    @staticmethod
    def _replaced(function, module, path):
        if function.__module__ == module and function.__qualname__ == path:
            return False
        return not function.__code__.co_filename.startswith("<") and not _is_library_file(function.__code__.co_filename)

    def _item(self, module, path, name, value, owner, key):
        """A value that workers have to have as it is here; owner[key]: where to look for it the next time."""
        wraps = isinstance(value, (_core.Functional, _core.Schedule, staticmethod, classmethod))
        if wraps or _is_constant(value):
            if type(owner) is dict:
                self.witnesses.append((ENTRY, owner, key, value))
            if isinstance(value, types.ModuleType) and sys.modules.get(value.__name__) is not value:
                return
            if (wraps or isinstance(value, (type, types.FunctionType))) and _place(value) == (
                module,
                _joined(path, name),
            ):
                self.usual.add((module, path, name))
                return
        elif isinstance(value, contextvars.ContextVar):
            self.variables[id(value)] = value
            self.placed.setdefault(id(value), []).append((module, path, name))
            return
        elif type(value) is threading.local:
            self.witnesses.append((SMALL, owner, key, None))
            value = _Local(dict(vars(value)), value)
        elif _is_random(value) or isinstance(value, (property, functools.cached_property, *_DESCRIPTORS)):
            return
        else:
            self.witnesses.append((SMALL, owner, key, None))
        self.items[module, path, name] = value


# --- the process: _felt.py has what else is felt all over it ---------------------------------------------------------------------------------------------------------

_baseline: dict = {}  # as workers of the pool find it when they start
_ever: set = set()  # what was sent once is always sent: it may go back to what it was
_PLAIN_FILTERS = {"DeprecationWarning", "PendingDeprecationWarning", "ImportWarning", "ResourceWarning"}


def _folder():
    try:
        return os.getcwd()
    except OSError:
        return None


def began():
    """A pool of functionals is being opened."""
    _core._flow_moved()
    _felt.began()
    _baseline.update(folder=_folder(), environ=dict(os.environ), path=list(sys.path), recursion=sys.getrecursionlimit())


def _filters():
    """Of `warnings`, if they are not what a process begins with."""
    if "warnings" not in sys.modules:
        return None
    found = list(sys.modules["warnings"].filters)
    plain = found and all(
        item[0] in ("default", "ignore") and (item[1] is None or "numpy" in str(item[1])) and not item[4]
        and (item[2].__name__ in _PLAIN_FILTERS or item[1] is not None)
        for item in found
    )  # fmt: skip
    return None if plain else found


def _decimal():
    decimal = sys.modules.get("decimal")
    if decimal is None:
        return None
    now = decimal.getcontext().copy()
    now.clear_flags()
    parts = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp", "traps")
    default = decimal.Context(28, decimal.ROUND_HALF_EVEN, -999999, 999999, 1, 0, [], _TRAPS(decimal))
    return None if all(getattr(now, p) == getattr(default, p) for p in parts) else now


def _TRAPS(decimal):
    return [decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow]


def _numpy():
    numpy = sys.modules.get("numpy")
    if numpy is None or not hasattr(numpy, "geterr"):
        return None, None
    errors, printing = numpy.geterr(), numpy.get_printoptions()
    plain = errors == {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
    usual = printing.get("precision") == 8 and printing.get("threshold") == 1000 and printing.get("edgeitems") == 3
    usual = usual and printing.get("linewidth") == 75 and not printing.get("suppress") and not printing.get("formatter")
    return None if plain else errors, None if usual else printing


def _locale():
    import _locale

    now = _locale.setlocale(_locale.LC_ALL, None)
    plain = "=" in now and all(p.startswith("LC_CTYPE=") or p.endswith("=C") for p in now.split(";"))
    return None if plain and now == _felt.LOCALE else now


def _changed_environ():
    """What the program has set since the workers started, and None for what it has removed: other hosts have an environment of
    their own."""
    then, now = _baseline.get("environ") or {}, dict(os.environ)
    changed = {name: value for name, value in now.items() if then.get(name) != value}
    return {**changed, **{name: None for name in then if name not in now}}


def _process():
    """(None, "", what) -> value, of all that is not as workers find it."""
    errors, printing = _numpy()
    now = {
        "folder": _folder(),
        "environ": _changed_environ(),
        "path": list(sys.path),
        "recursion": sys.getrecursionlimit(),
        "digits": sys.get_int_max_str_digits(),
        "filters": _filters(),
        "decimal": _decimal(),
        "errors": errors,
        "printing": printing,
        "locale": _locale(),
        **_felt.read(),
    }
    found = {}
    for name, value in now.items():
        if name == "environ":
            usual = {}
        elif name == "digits":
            usual = sys.int_info.default_max_str_digits
        else:
            usual = _baseline.get(name, _felt.usual(name))
        if value != usual or name in _ever:
            _ever.add(name)
            found[None, "", name] = value
    return found


# --- here: what travels ----------------------------------------------------------------------------------------------------

_TOKEN = os.urandom(8)  # a process's own
_sent: set = set()  # places whose values were sent once: workers may have something else there since


def _digest(value):
    try:
        return value.name.encode() if type(value) is _Mark else _core.digest(value, size=16)
    except Exception:  # then it stays here
        return None


def _sized(witnesses, sizes):
    """The witnesses, and which of those that are compared by contents are large. sizes: by id; others do not travel."""
    for kind, owner, key, value in witnesses:
        if kind == SMALL:
            size = sizes.get(id(_current(owner, key)))
            if size is None:
                continue
            if size > _CHECKED:
                kind = LARGE
        yield kind, owner, key, value


def _current(owner, key):
    if isinstance(owner, types.FunctionType):
        return getattr(owner, key)
    return vars(owner).get(key) if isinstance(owner, type) else owner.get(key)


def make(function, kinds, codes, before):
    """(what to send for the function, witnesses). None to send: no worker can have what it looks at.

    kinds: types of arguments it was called with. codes: functions by value among them, empty. before: what was sent.
    """
    reach = _Reach()
    reach.run([*kinds, *codes, function])  # which comes first: what arguments lead to may be too much to look at
    items = reach.items
    items.update((place, _USUAL) for place in (reach.usual & _sent) - items.keys())
    sent = before.args[0] if type(before) is functools.partial and function_of(before) is not before else None
    for *place, _ in sent[2] if sent else ():  # where a name is missing now that was there
        module, path, name = place = tuple(place)
        if place not in items and module is not None:
            owner = _found(module, path)
            if isinstance(owner, (types.ModuleType, type)) and name not in vars(owner):
                items[place] = _ABSENT
    items.update(_process())
    here = reach.here or _felt.prints_elsewhere(reach.named)
    here = here or ((None, "", "limits") in items and _felt.is_tight(items[None, "", "limits"]))
    places, values, pickled = [], [], {}
    for place, value in items.items():
        digest = _digest(value)
        if digest is not None and not _is_constant(value):
            try:
                pickled[id(value.local if type(value) is _Local else value)] = len(_core.dumps(value))
            except Exception:
                digest = None
        if place[2] == "nameless" or (digest is None and type(value) is _Variable):
            here = True
        if digest is None:  # workers have one of their own
            continue
        places.append((*place, digest))
        values.append(value)
    witnesses = list(_sized(reach.witnesses, pickled))
    if here:
        return None, witnesses
    if not places:
        return function, witnesses
    places = tuple(places)
    _sent.update(place[:3] for place in places)
    key = _core.digest(places, size=16)
    if sent and sent[0] == key:
        return before, witnesses
    return functools.partial(call, (key, _TOKEN, places, _core.dumps(values)), function), witnesses


# --- in a worker ---------------------------------------------------------------------------------------------------------------

_applied: dict = {}  # place -> digest
_own: dict = {}  # place -> what was there before something else was set
_now = None  # key of what was applied last


class _Variable:
    """The value of a context variable. variable: None for the one that is at the item's place."""

    def __init__(self, value, variable=None):
        self.value, self.variable = value, variable

    def __reduce__(self):
        return _Variable, (self.value, self.variable)


class _Local:
    """What a threading.local holds for the thread that calls."""

    def __init__(self, inside, local=None):
        self.inside, self.local = inside, local

    def __reduce__(self):
        return _Local, (self.inside,)


_tokens: dict = {}  # context variable -> of the first time it was set


def _set_variable(variable, value):
    """Raises ValueError where it was set in another context and cannot be taken back."""
    if value is not _ABSENT:
        token = variable.set(value)
        _tokens.setdefault(variable, token)
    elif (token := _tokens.pop(variable, None)) is not None:
        variable.reset(token)


def call(state, function, /, *args, **kwargs):
    """Calls the function when everything around it is as it was where the call was made. Raises Here if that cannot be."""
    if state[0] != _now and state[1] != _TOKEN:
        try:
            _enter(state)
        except Exception as error:
            raise _identity.Here from error
    return function(*args, **kwargs)


def function_of(callable):
    """What `make` was given."""
    if type(callable) is functools.partial and callable.func is call:
        return callable.args[1]
    return callable


def _enter(state):
    global _now
    key, _, places, data = state
    _now = None
    todo = []
    for n, (module, path, name, digest) in enumerate(places):
        place = module, path, name
        if _applied.get(place) == digest:
            continue
        if module is not None and (_is_elsewhere(place) or _digest(_read(place)) == digest):
            _applied[place] = digest
        else:
            todo.append(n)
    if todo:
        values = _core.loads(data)
        known = {}  # id of what is there -> digests of what is wanted in its places
        for *place, digest in places:
            if place[0] is not None:
                known.setdefault(id(_read(place)), set()).add(digest)
        for n in todo:
            module, path, name, digest = places[n]
            _applied.pop((module, path, name), None)  # an interruption may leave anything there
            if module is None:
                _PROCESS[name](values[n])
            else:
                _write((module, path, name), values[n], known)
            _applied[module, path, name] = digest
    _now = key


def _is_elsewhere(place):
    """Another host's library has numbers and texts of its own."""
    from . import _worker

    return _worker._elsewhere and type(_read(place)) in _ATOMS and not _is_user(sys.modules[place[0]])


def _owner(place):
    module, path, name = place
    if module not in sys.modules:
        __import__(module)
    outer = _outer(module, path) if path and not name.startswith("__") else None
    return outer if isinstance(outer, (_core.Functional, _core.Schedule)) else _found(module, path)


def _read(place):
    owner, name = _owner(place), place[2]
    if isinstance(owner, (types.ModuleType, type)):
        return vars(owner).get(name, _ABSENT)
    return getattr(owner, name, _ABSENT)


def _write(place, value, known):
    """Sets it. Lists, sets, dicts and instances that are there already become what they should be, unless other places that have
    them want something else: somebody else may know them."""
    owner, name = _owner(place), place[2]
    now = _read(place)
    if isinstance(value, _Variable):
        _set_variable(now, value.value)
    elif isinstance(value, _Local):
        vars(now).clear()
        vars(now).update(value.inside)
    elif value is _USUAL:
        if (value := _own.get(place, _USUAL)) is not _USUAL:
            setattr(owner, name, value)
    elif value is _ABSENT:
        if now is not _ABSENT:
            _own.setdefault(place, now)
            delattr(owner, name)
    elif type(now) is type(value) and len(known.get(id(now), ())) == 1 and _become(now, value):
        pass
    else:
        _own.setdefault(place, now)
        setattr(owner, name, value)


def _become(now, value):
    kind = type(value)
    if kind is list:
        now[:] = value
    elif kind in (dict, set):
        now.clear()
        now.update(value)
    elif (
        not isinstance(value, (type, types.FunctionType, types.ModuleType, BaseException))
        and kind.__setattr__ is object.__setattr__
        and kind.__getattribute__ is object.__getattribute__
        and type(getattr(now, "__dict__", None)) is dict
        and not any("__slots__" in vars(base) for base in kind.__mro__)
        and kind.__mro__[-2:] == (kind.__mro__[-2], object)
        and not issubclass(kind, (list, dict, set, tuple, str, bytes, int, float))
        and kind.__flags__ & 1 << 9  # a class of Python's own
    ):
        vars(now).clear()
        vars(now).update(vars(value))
    else:
        return False
    return True


def _set_folder(value):
    from . import _worker

    if value is not None:
        if _worker._elsewhere:  # a folder of another host's is not it
            raise _identity.Here
        os.chdir(value)


_environ: dict = {}  # this worker's own


def _set_environ(value):
    if not _environ:
        _environ.update(os.environ)
    zone = os.environ.get("TZ")
    wanted = {**_environ, **value}
    os.environ.clear()
    os.environ.update({name: text for name, text in wanted.items() if text is not None})
    if zone != os.environ.get("TZ"):
        import time

        time.tzset()


def _set_path(value):
    from . import _worker

    _worker.set_path(_core.dumps(value))


def _set_filters(value):
    import warnings

    warnings.resetwarnings()
    if value is None:
        for name in sorted(_PLAIN_FILTERS):
            warnings.simplefilter("ignore", getattr(__import__("builtins"), name))
    else:
        warnings.filters[:] = value
        if hasattr(warnings, "_filters_mutated"):
            warnings._filters_mutated()


def _set_decimal(value):
    import decimal

    decimal.setcontext(value if value is not None else decimal.Context(traps=_TRAPS(decimal)))


def _set_errors(value):
    import numpy

    numpy.seterr(**(value or {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}))


def _set_printing(value):
    import numpy

    usual = {"precision": 8, "threshold": 1000, "edgeitems": 3, "linewidth": 75, "suppress": False, "formatter": None}
    numpy.set_printoptions(**(value or usual))


def _set_locale(value):
    import locale

    locale.setlocale(locale.LC_ALL, _felt.LOCALE if value is None else value)


_PROCESS = {
    "folder": _set_folder,
    "environ": _set_environ,
    "path": _set_path,
    "recursion": sys.setrecursionlimit,
    "digits": sys.set_int_max_str_digits,
    "filters": _set_filters,
    "decimal": _set_decimal,
    "errors": _set_errors,
    "printing": _set_printing,
    "locale": _set_locale,
    "variable": lambda value: _set_variable(value.variable, value.value),
    **_felt.SETTERS,
}
