"""Who refers to whom, as the garbage collector sees it: to find what keeps an object alive, or what it keeps.

`parents` follows references from an object to what it refers to; `children` follows them back to what refers to it.
"""

from __future__ import annotations

import gc
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["at", "children", "parent", "parents", "reference"]

_PROXIES = (weakref.ProxyType, weakref.CallableProxyType)


def _as_types(objtype: Any) -> tuple:
    kinds = objtype if isinstance(objtype, (tuple, list)) else (objtype,)
    return tuple(kind if isinstance(kind, type) else type(kind) for kind in kinds)


def find_chain(
    obj: Any, predicate: Callable, edge_func: Callable, max_depth: int = 20, extra_ignore: Iterable = ()
) -> list:
    """The shortest list of objects, each one an `edge_func` step from the next, from one that `predicate` accepts to obj.

    It is [obj] when there is none within `max_depth` steps. `extra_ignore` holds ids of objects not to pass through.
    """
    queue = deque([(obj, 0)])
    came_from: dict[int, Any] = {id(obj): None}
    skip = {id(came_from), id(queue), id(sys._getframe()), id(sys.modules), id(globals()), *extra_ignore}
    while queue:
        target, depth = queue.popleft()
        if depth and predicate(target):
            chain = [target]
            while came_from[id(chain[-1])] is not None:
                chain.append(came_from[id(chain[-1])])
            return chain
        if depth >= max_depth:
            continue
        found = edge_func(target)
        skip.add(id(found))
        for source in found:
            if id(source) not in skip and id(source) not in came_from and source is not found:
                came_from[id(source)] = target
                queue.append((source, depth + 1))
    return [obj]


def _chain(obj: Any, objtype: Any, depth: int, ignore: Any, edge_func: Callable) -> list:
    kinds = _as_types(objtype)
    ignored = {id(skipped) for skipped in (ignore if isinstance(ignore, (tuple, list)) else (ignore,))}
    ignored |= {id(ignored), id(kinds)}
    frame = sys._getframe()
    while frame is not None:  # the frames that ask refer to obj too
        ignored |= {id(frame), id(frame.f_locals)}
        frame = frame.f_back  # type: ignore[assignment]
    return find_chain(obj, lambda found: isinstance(found, kinds), edge_func, depth, ignored)


def parents(obj: Any, objtype: Any, depth: int = 1, ignore: Any = ()) -> list:
    """The chain from the nearest object of type `objtype` that `obj` refers to, over `depth` steps at most, to `obj`."""
    return _chain(obj, objtype, depth, ignore, gc.get_referents)


def children(obj: Any, objtype: Any, depth: int = 1, ignore: Any = ()) -> list:
    """The chain from the nearest object of type `objtype` that refers to `obj`, over `depth` steps at most, to `obj`."""
    return _chain(obj, objtype, depth, ignore, gc.get_referrers)


def parent(obj: Any, objtype: Any, ignore: Any = ()) -> Any:
    """The nearest object of type `objtype` that `obj` refers to directly; None if there is none."""
    chain = parents(obj, objtype, 1, ignore)
    return chain[0] if len(chain) > 1 else None


def reference(obj: Any) -> int:
    """The id of `obj`; of a weak proxy the id of what it stands for."""
    if type(obj) not in _PROXIES:
        return id(obj)
    return id(_target(obj))


def _target(proxy: Any) -> Any:
    """What a weak proxy stands for; None if that is gone."""
    try:
        bound = proxy.__repr__
        # Of a class it is the function of its instances.
        return bound.__self__ if hasattr(bound, "__self__") else proxy.mro.__self__
    except ReferenceError:
        return None


def at(address: int, module: Any = None) -> Any:
    """The object with the id `address`: among the values of a module, or anywhere.

    ReferenceError: there is none that the garbage collector, a module or a container could name.
    """
    for candidate in (None, True, False, Ellipsis, NotImplemented):
        if id(candidate) == address:
            return candidate
    spaces = [module] if module is not None else list(sys.modules.values())
    for space in spaces:
        for value in list(getattr(space, "__dict__", {}).values()):
            if id(value) == address:
                return value
    if module is None:
        everything = gc.get_objects()
        for found in everything:
            if id(found) == address and found is not everything:
                return found
        for found in everything:
            if isinstance(found, (list, tuple, dict)) and found is not everything:
                for value in list(found.values()) if type(found) is dict else list(found):
                    if id(value) == address:
                        return value
    raise ReferenceError(f"no object is known at {address:#x}")


refobject = at
