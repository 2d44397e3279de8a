"""Check mode (``ERGON_CHECK=1``): every call of a functional is looked at for a broken promise.

A call runs twice on copies of its arguments and once as it is, all in place. Reported, once for each functional, with the
place it is defined at: it changed an argument; it gave two results for one input; a global it reads is not what it was at
an earlier call. What the program computes stays what sequential execution gives.
"""

import functools
import os
import sys
import types

from . import _core

_said: set[tuple[str, str]] = set()


def wanted():
    return os.environ.get("ERGON_CHECK", "") not in ("", "0")


def _bytes(value):
    """Bytes that are equal for equal values; None for what cannot be pickled."""
    try:
        return _core.dumps(value)
    except Exception:
        return None


def _say(function, words):
    code = getattr(function, "__code__", None)
    place = f"{code.co_filename}:{code.co_firstlineno}" if code is not None else getattr(function, "__module__", "?")
    if (place, words) not in _said:
        _said.add((place, words))
        name = getattr(function, "__qualname__", repr(function))
        print(f"ergon check: {place}: functional {name}() {words}", file=sys.stderr, flush=True)


def _globals(function):
    """The values of the globals the function's code names that could change: name -> bytes."""
    code, space = getattr(function, "__code__", None), getattr(function, "__globals__", None)
    found, todo = {}, [code] if code is not None and space is not None else []
    while todo:
        code = todo.pop()
        todo.extend(c for c in code.co_consts if isinstance(c, types.CodeType))
        for name in code.co_names:
            value = space.get(name, _bytes)
            if value is not _bytes and not isinstance(value, (types.ModuleType, type)) and not callable(value):
                found[name] = _bytes(value)
    return found


def _outcome(function, args, kwargs):
    try:
        return "result", function(*args, **kwargs)
    except Exception as error:
        return "exception", (type(error), error.args)


def _same(a, b):
    if a[0] != b[0]:
        return False
    return a[1] == b[1] if a[0] == "exception" else _bytes(a[1]) == _bytes(b[1])


def checked(function):
    """The function, with its promise looked after."""
    seen = {}

    @functools.wraps(function)
    def call(*args, **kwargs):
        for name, value in _globals(function).items():
            if seen.setdefault(name, value) != value:
                _say(function, f"reads the global {name!r}, which changes between its calls")
        before = _bytes((args, kwargs))
        if before is None:
            return function(*args, **kwargs)
        first, second = (_outcome(function, *_core.loads(before)) for _ in range(2))
        if not _same(first, second):
            _say(function, "gave two results for one input")
        try:
            return function(*args, **kwargs)
        finally:
            if _bytes((args, kwargs)) != before:
                _say(function, "changed an argument")

    return call
