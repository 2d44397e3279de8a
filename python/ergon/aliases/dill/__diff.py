"""Whether an object, or anything it is made of, has changed since it was memorised.

Compares identities: of the attributes of objects (`__dict__`) and of the items of containers.
"""

import os
import sys
import types

memo = {}  # id → (attributes: {name: id}, items: [id] or {key: id} or None)
id_to_obj = {}  # what is in the memo stays alive: ids are not used again
_SKIP = (str, bytes, int, float, complex, bool, type(None), types.BuiltinFunctionType)
_IGNORED = {"_abc_impl", "_abc_invalidation_counter", "__weakref__"}


def get_attrs(obj):
    """The attributes an object has of its own, or None."""
    if isinstance(obj, (dict, list, tuple, set, frozenset, *_SKIP)) and type(obj).__module__ == "builtins":
        return None
    found = getattr(obj, "__dict__", None)
    return dict(found) if isinstance(found, (dict, types.MappingProxyType)) else None


def get_seq(obj):
    """The items of a container, or None: a dict's values by key, otherwise a list."""
    if isinstance(obj, dict):
        return dict(obj)
    if isinstance(obj, (list, tuple, set)):
        return list(obj)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(obj, numpy.ndarray):
        return obj.tobytes()
    return None


def _state(obj):
    attributes = {name: id(value) for name, value in (get_attrs(obj) or {}).items() if name not in _IGNORED}
    items = get_seq(obj)
    if isinstance(items, dict):
        items = {key: id(value) for key, value in items.items()}
    elif isinstance(items, list):
        items = sorted(map(id, items)) if isinstance(obj, set) else [id(item) for item in items]
    return attributes, items


def _parts(obj):
    yield from (value for name, value in (get_attrs(obj) or {}).items() if name not in _IGNORED)
    items = get_seq(obj)
    if isinstance(items, (dict, list)):
        yield from items.values() if isinstance(items, dict) else items


def _leaf(obj):
    return isinstance(obj, _SKIP) or obj is memo or obj is id_to_obj or obj is sys.modules or obj is os.environ


def memorise(obj, force=False):
    """Remembers the object and everything it is made of, as it is now; `force`: also if it is remembered already."""
    if _leaf(obj) or (id(obj) in memo and not force):
        return
    waiting, first = [obj], True
    while waiting:
        current = waiting.pop()
        if _leaf(current) or (id(current) in memo and not first):
            continue
        first = False
        memo[id(current)] = _state(current)
        id_to_obj[id(current)] = current
        waiting.extend(_parts(current))


def release_gone():
    """Forgets what nobody but the memo refers to."""
    for key in [key for key, obj in id_to_obj.items() if sys.getrefcount(obj) < 4]:
        del memo[key], id_to_obj[key]


def _changed_itself(obj):
    return id(obj) in memo and memo[id(obj)] != _state(obj)


def has_changed(obj, *args, **kwds):
    """Whether it, or anything it is made of, is not what was memorised."""
    seen, waiting = set(), [obj]
    while waiting:
        current = waiting.pop()
        if id(current) in seen or _leaf(current):
            continue
        seen.add(id(current))
        if _changed_itself(current):
            return True
        waiting.extend(_parts(current))
    return False


def whats_changed(obj, *args, **kwds):
    """({name: value} of the attributes that changed, or are made of what did; whether items did)."""
    known, known_items = memo.get(id(obj), ({}, None))
    attributes, items = _state(obj)
    changed = {
        name: value
        for name, value in (get_attrs(obj) or {}).items()
        if name not in _IGNORED and ((id(obj) in memo and known.get(name) != attributes[name]) or has_changed(value))
    }
    content = get_seq(obj)
    inside = (content.values() if isinstance(content, dict) else content) if isinstance(content, (dict, list)) else ()
    return changed, (id(obj) in memo and known_items != items) or any(map(has_changed, inside))
