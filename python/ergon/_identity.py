"""Which objects of a functional's result the caller could tell from copies, and how they travel.

What came into being in the call is referred to by nothing but the result: its references are counted. What something else
refers to as well is looked for among the arguments and in what the function names (globals, cells, defaults). Objects found
there travel as their place. Where that is not enough, the call has to be made by the caller.
"""

import functools
import gc
import io
import itertools
import sys
import types

from . import _core

_ATOMS = frozenset(
    {int, float, complex, bool, str, bytes, type(None), range, type, type(...), type(NotImplemented)}
    | {types.ModuleType, types.CodeType}
)
_PLAIN = frozenset({list, tuple, dict, set, frozenset})
_MANY = 500_000  # objects looked at in a result
_AMONG = 200_000  # objects looked at where they may be from
_PAIRS = 2_000  # pairs of arrays compared


class Here(Exception):
    """The call has to be made by the caller."""


# --- what a result consists of -----------------------------------------------------------------------------------


def _is_array(value):
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, (numpy.ndarray, numpy.void))


def _zone(value):
    """That of a time, which the collector does not know of; None for one that copies are as good as, or there only once."""
    module = sys.modules.get("datetime")
    if module is None or type(value) in _PLAIN or not isinstance(value, (module.datetime, module.time)):
        return None
    zone = value.tzinfo
    named = sys.modules.get("zoneinfo")
    return None if zone is module.timezone.utc or (named is not None and type(zone) is named.ZoneInfo) else zone


def _inside(value):
    """What it refers to, once for each reference."""
    if type(value) is types.FunctionType:
        more = (value.__closure__, value.__defaults__, (value.__kwdefaults__ or {}).values(), value.__dict__.values())
        return [inner for part in more if part for inner in part]
    if _is_array(value):
        inner = gc.get_referents(value) if gc.is_tracked(value) else []
        if value.dtype.hasobject:
            inner.extend(value.ravel("K").tolist() if value.shape else [value.item()])
        return inner
    if (zone := _zone(value)) is not None:
        return [zone]
    found = gc.get_referents(value)
    if type(value) is dict and value and not found:  # CPython 3.13: an object's attributes, which it has itself
        raise Here
    return found


def _counts(nodes):
    """How many references there are to each of them."""
    return [sys.getrefcount(node) for node in nodes]


_OWN = _counts([object()])[0]  # those that counting itself takes


def _is_atom(value):
    return type(value) in _ATOMS or isinstance(value, type)


def _parts(value):
    """What it refers to and could be told from a copy."""
    children = _inside(value)
    return () if _ATOMS.issuperset(map(type, children)) else [c for c in children if not _is_atom(c)]


def _graph(result):
    """Its objects, how often each is referred to by others of them, and those that stand in it by themselves, not only as what
    a view looks into. No more than so many."""
    nodes, times, standing = [result], {id(result): 0}, {id(result)}
    for value in nodes:
        plain = type(value) in _PLAIN
        children = _inside(value)
        if not _ATOMS.issuperset(map(type, children)):
            for child in children:
                kind = type(child)
                if kind in _ATOMS or (kind not in _PLAIN and isinstance(child, type)):
                    continue
                key = id(child)
                standing.add(key)
                if key in times:
                    times[key] += 1
                else:
                    times[key] = 1
                    nodes.append(child)
        if not plain and _is_array(value) and (child := value.base) is not None:
            key = id(child)
            if key in times:
                times[key] += 1
            else:
                times[key] = 1
                nodes.append(child)
        if len(nodes) > _MANY:
            break
    return nodes, times, standing


def _shared(nodes, times, fresh):
    """Those that are referred to from elsewhere, and what they refer to. fresh: not the first, which who calls this refers to."""
    if len(nodes) > _MANY:
        return nodes  # not all references were seen
    found = [] if fresh else [nodes[0]]
    for node, count in itertools.islice(zip(nodes, _counts(nodes), strict=True), 1, None):
        if count > times[id(node)] + _OWN:
            found.append(node)
    return _and_inside(found)


def _and_inside(found):
    """Those, and what they refer to."""
    seen = {id(node) for node in found}
    for node in found:
        for child in _parts(node):
            if id(child) not in seen:
                seen.add(id(child))
                found.append(child)
    return found


# --- memory that arrays share ---------------------------------------------------------------------------------------


def _bounds(array):
    low = high = array.__array_interface__["data"][0]
    for size, stride in zip(array.shape, array.strides, strict=True):
        if size == 0:
            return low, low
        if stride < 0:
            low += stride * (size - 1)
        else:
            high += stride * (size - 1)
    return low, high + array.itemsize


def _overlap(nodes, times, standing):
    """Two arrays of the result look into the same memory, or something else and a view of it."""
    if any(type(node) is memoryview and times.get(id(node.obj), 0) > 1 for node in nodes):
        return True
    views = [node for node in nodes if type(node) not in _PLAIN and _is_array(node)]
    if any(view.base is not None and not _is_array(view.base) and id(view.base) in standing for view in views):
        return True
    if not any(view.base is not None for view in views):
        return False
    numpy = sys.modules["numpy"]
    views = [view for view in views if isinstance(view, numpy.ndarray) and id(view) in standing]
    spans = sorted(((*_bounds(view), n) for n, view in enumerate(views)))
    pairs = 0
    for at, (_, high, n) in enumerate(spans):
        for low, end, m in itertools.islice(spans, at + 1, None):
            if low >= high:
                break
            pairs += 1
            if low == end:
                continue
            try:
                if pairs > _PAIRS or numpy.shares_memory(views[n], views[m], max_work=10_000):
                    return True
            except Exception:  # too hard to tell
                return True
    return False


# --- where it may be from -------------------------------------------------------------------------------------------


def _names(code):
    found, todo = set(), [code]
    for one in todo:
        found.update(one.co_names)
        todo.extend(inner for inner in one.co_consts if type(inner) is types.CodeType)
    return found


def _of_function(function, module):
    for n, cell in enumerate(function.__closure__ or ()):
        yield ("c", n), cell
        try:
            yield ("c", n, "in"), cell.cell_contents
        except ValueError:  # nothing in it yet
            pass
    for n, value in enumerate(function.__defaults__ or ()):
        yield ("d", n), value
    for name, value in (function.__kwdefaults__ or {}).items():
        yield ("w", name), value
    for n, value in enumerate(function.__code__.co_consts):
        if type(value) is tuple or type(value) is frozenset:
            yield ("n", n), value
    space = function.__globals__
    if space is module:
        names = _names(function.__code__)
        for name in names & space.keys():
            value = space[name]
            yield ("g", name), value
            if isinstance(value, (types.ModuleType, type)):
                inside = vars(value)
                for inner in names & inside.keys():
                    yield ("m", name, inner), inside[inner]


def _steps(value, module):
    """What it refers to, with how to get there; None where that cannot be told."""
    kind = type(value)
    if kind is types.FunctionType:
        yield from _of_function(value, module)
    elif isinstance(value, tuple) or kind is list:
        if not _ATOMS.issuperset(map(type, kind.__iter__(value))):
            yield from enumerate(kind.__iter__(value))
        if kind is tuple or kind is list:
            return
    elif kind is dict:
        for n, (key, inner) in enumerate(value.items()):
            yield ("v", n), inner
            yield ("k", n), key
        return
    elif kind is functools.partial:
        for name in ("func", "args", "keywords"):
            yield ("a", name), getattr(value, name)
    elif kind is types.MethodType:
        yield ("a", "__func__"), value.__func__
        yield ("a", "__self__"), value.__self__
    elif (zone := _zone(value)) is not None:
        yield ("a", "tzinfo"), zone
    attributes = getattr(value, "__dict__", None)
    if type(attributes) is dict:
        for name, inner in attributes.items():
            yield ("i", name), inner
    for inner in _inside(value):
        yield None, inner
    if _is_array(value) and value.base is not None:
        yield None, value.base


def _step(value, step):
    if type(step) is int:
        return value[step]
    kind, key = step[:2]
    if kind in "vk":
        return next(itertools.islice(value.values() if kind == "v" else value.keys(), key, None))
    if kind == "i":
        return value.__dict__[key]
    if kind == "a":
        return getattr(value, key)
    if kind == "c":
        return value.__closure__[key] if len(step) == 2 else value.__closure__[key].cell_contents
    if kind == "d":
        return value.__defaults__[key]
    if kind == "w":
        return value.__kwdefaults__[key]
    if kind == "n":
        return value.__code__.co_consts[key]
    inner = value.__globals__[key]
    return inner if kind == "g" else vars(inner)[step[2]]


def _places(wanted, args, kwargs, function):
    """id -> path of those of the wanted that are found; None for a path that cannot be told. Raises Here where too many
    objects are among the arguments."""
    found, seen, left = {}, set(), set(wanted)
    inner = function
    while type(inner) in (functools.partial, types.MethodType):
        inner = inner.func if type(inner) is functools.partial else inner.__func__
    module = getattr(inner, "__globals__", None)
    for part, root in enumerate((args, kwargs, function)):
        todo = [(root, (part,))]
        for value, path in todo:
            for step, child in _steps(value, module):
                if _is_atom(child) or id(child) in seen:
                    continue
                key = id(child)
                seen.add(key)
                inside = None if step is None or path is None else (*path, step)
                if key in left:
                    left.discard(key)
                    found[key] = inside
                todo.append((child, inside))
            if not left:
                return found
            if len(todo) > _AMONG:
                if part < 2:
                    raise Here
                break
    return found


# --- on its way ---------------------------------------------------------------------------------------------------


def _must_be_here(result, found, met):
    """Something that was found stands in the result, and cannot be replaced by its place. Those that can are added to met."""
    todo, seen = [result], set()
    for value in todo:
        key = id(value)
        if key in seen:
            continue
        seen.add(key)
        if key in found:
            if found[key] is None:
                return True
            met.add(key)
            continue
        if type(value) is memoryview and id(value.obj) in found:
            return True
        if _is_array(value) and value.base is not None:
            if id(value.base) in found:
                return True
            todo.append(value.base)
        if type(value) is types.FunctionType and found.keys() & {id(c) for c in value.__closure__ or ()}:
            return True
        todo.extend(_parts(value))
    return False


def stream(result, fresh, function, args, kwargs):
    """In the worker: what stands for the result: (bytes, buffers); None: the result itself. Raises Here."""
    shared = _core._shared(result)
    if shared is not None:  # no views, no functions
        shared = _and_inside(shared if fresh else [result, *shared])
    else:
        nodes, times, standing = _graph(result)
        shared = _shared(nodes, times, fresh)
        if _overlap(nodes, times, standing):
            raise Here
    if not shared:
        return None
    found = _places({id(value) for value in shared}, args, kwargs, function)
    if not found:
        return None
    met, asked = set(), set()
    if _must_be_here(result, found, met):
        raise Here
    made, buffers = io.BytesIO(), []
    pickler = _core.Pickler(made, 5, buffer_callback=buffers.append)

    def place(value):
        path = found.get(id(value))
        if path is None:
            return None
        asked.add(id(value))
        return path, value if path[0] == 2 else None

    pickler.persistent_id = place
    pickler.dump(result)
    if met - asked:  # something is pickled without what it refers to
        raise Here
    return made.getvalue(), buffers


def known(value, function, args, kwargs):
    """In the worker: whether something in it is among the arguments, or named by the function."""
    todo, seen = [value], {}
    for one in todo:
        for child in _inside(one):
            if not _is_atom(child) and id(child) not in seen:
                seen[id(child)] = child
                todo.append(child)
        if len(todo) > _AMONG:
            return True
    return bool(seen) and bool(_places(seen, args, kwargs, function))


def _same(own, copy):
    """Whether the caller has what the worker had: a functional that keeps results in a global has others there."""
    if type(own) is not type(copy):
        return False
    return own is copy or type(own) is object or _core.digest(own) == _core.digest(copy)


def result_of(parts, args, kwargs, function):
    """At the caller: the result, with the caller's own objects in it."""
    data, buffers = parts
    roots = (args, kwargs, function)

    def load(place):
        path, copy = place
        try:
            value = roots[path[0]]
            for step in path[1:]:
                value = _step(value, step)
        except (AttributeError, LookupError, StopIteration, TypeError, ValueError):
            if path[0] == 2:
                return copy
            raise
        return value if path[0] != 2 or _same(value, copy) else copy

    unpickler = _core.Unpickler(io.BytesIO(data), buffers=buffers)
    unpickler.persistent_load = load
    return unpickler.load()
