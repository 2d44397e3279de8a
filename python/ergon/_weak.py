"""How weak references travel, and who keeps what they refer to.

The object a weak reference refers to comes along, or it would be dead where it arrives. If the stream has that object in another way as
well, it lives there as long as those who have it. If only weak references lead to it, nobody would: whoever keeps it here does not
travel. Then they keep it themselves: it lives as long as one of them does, or, in a weak dict or set, as long as its entry.

While a stream is loaded every weak reference keeps its object; at the end those let go whose object is found from what was loaded.
"""

from __future__ import annotations

import gc
import sys
import types
import weakref
from typing import Any

from ._core import _weak_made

MOST = 1_000_000  # objects looked at; beyond that references keep what they refer to


class _Kept:
    """The callback of a weak reference, which keeps the object."""

    __slots__ = ("targets",)

    def __init__(self, *targets: Any):
        self.targets = targets
        _weak_made(self)

    def __call__(self, reference: Any) -> None: ...


class _KeptRef(weakref.ref):
    """In a WeakSet or WeakKeyDictionary, whose references have a callback of their own."""

    __slots__ = ("targets",)


class _KeptValue(weakref.KeyedRef):
    __slots__ = ("targets",)


_KEEPERS = _Kept, _KeptRef, _KeptValue


# --- reducers ---------------------------------------------------------------------------------------------------------


def ref(reference: Any, protocol: int, files: int) -> tuple:
    target = reference()
    return (dead_ref, ()) if target is None else (make_ref, (target,))


def proxy(proxy: Any, protocol: int, files: int) -> tuple:
    # A proxy hides its target: a bound method of it does not.
    try:
        bound = proxy.__repr__
        # Of a class it is the function of its instances.
        target = bound.__self__ if hasattr(bound, "__self__") else proxy.mro.__self__
    except ReferenceError:
        return dead_proxy, (type(proxy) is weakref.CallableProxyType,)
    return make_proxy, (target,)


def weak_method(method: Any, protocol: int, files: int) -> tuple:
    target = method()
    return (dead_ref, ()) if target is None else (make_method, (target,))


def weak_set(value: Any, protocol: int, files: int) -> tuple:
    return type(value), (), list(value), None, None, fill_set


def weak_keys(value: Any, protocol: int, files: int) -> tuple:
    return type(value), (), list(value.items()), None, None, fill_keys


def weak_values(value: Any, protocol: int, files: int) -> tuple:
    return type(value), (), list(value.items()), None, None, fill_values


REDUCERS = {
    weakref.ReferenceType: ref,
    weakref.ProxyType: proxy,
    weakref.CallableProxyType: proxy,
    weakref.WeakSet: weak_set,
    weakref.WeakKeyDictionary: weak_keys,
    weakref.WeakValueDictionary: weak_values,
    weakref.WeakMethod: weak_method,
}


# --- what streams call ------------------------------------------------------------------------------------------------


class _Gone:
    __slots__ = ("__weakref__",)


class _GoneCallable(_Gone):
    __slots__ = ()

    def __call__(self) -> None: ...


def dead_ref() -> Any:
    return weakref.ref(_Gone())


def dead_proxy(callable: bool) -> Any:
    return weakref.proxy(_GoneCallable() if callable else _Gone())


def make_ref(target: Any) -> Any:
    return weakref.ref(target, _Kept(target))


def make_proxy(target: Any) -> Any:
    return weakref.proxy(target, _Kept(target))


def make_method(method: Any) -> Any:
    owner, function = method.__self__, method.__func__
    if getattr(type(owner), getattr(function, "__name__", ""), None) is function:
        return weakref.WeakMethod(method, _Kept(owner))
    return weakref.WeakMethod(method, _Kept(owner, function))


def _keep(reference: Any, target: Any) -> Any:
    reference.targets = (target,)
    _weak_made(reference)
    return reference


def fill_set(made: Any, items: list) -> None:
    for item in items:
        made.data.add(_keep(_KeptRef(item, made._remove), item))


def fill_keys(made: Any, pairs: list) -> None:
    for key, value in pairs:
        made.data[_keep(_KeptRef(key, made._remove), key)] = value


def fill_values(made: Any, pairs: list) -> None:
    for key, value in pairs:
        made.data[key] = _keep(_KeptValue(value, made._remove, key), value)


# --- the end of a load ------------------------------------------------------------------------------------------------


def _of_this_process(obj: Any, kind: type) -> bool:
    """Nothing that was just loaded is found through it."""
    if kind in _KEEPERS or issubclass(kind, types.ModuleType):
        return True
    if kind is types.FunctionType:
        return obj.__globals__ is getattr(sys.modules.get(obj.__module__), "__dict__", None)
    if issubclass(kind, type):
        return getattr(sys.modules.get(obj.__module__), obj.__name__, None) is obj
    return False


def settle(root: Any, made: list) -> None:
    """Called when a stream was loaded: who of the keepers it made lets go."""
    missing = {id(target) for keeper in made for target in keeper.targets}
    found = {id(root)} & missing
    level, seen, count = [root], {id(root)}, 0
    while level and count < MOST and len(found) < len(missing):
        below: list = []
        for obj in level:
            if _of_this_process(obj, type(obj)):
                continue
            for part in gc.get_referents(obj):
                number = id(part)
                if number in seen:
                    continue
                seen.add(number)
                if number in missing:
                    found.add(number)
                if gc.is_tracked(part):
                    below.append(part)
        count += len(below)
        level = below
    for keeper in made:
        if all(id(target) in found for target in keeper.targets):
            keeper.targets = ()
