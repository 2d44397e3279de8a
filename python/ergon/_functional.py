"""What a worker gives back for a call of a functional, so that the caller sees what sequential execution gives.

An argument that is returned, or stands in what is returned, keeps its identity: it travels as its path; so do objects that
the function names. Where that cannot be done, the call is made by the caller. An exception travels with its cause, its
context and the lines of its traceback.
"""

import itertools
import types

from . import _around, _identity

_ATOMS = frozenset({int, float, complex, bool, str, bytes, type(None), range, type, types.FunctionType})
_LIMIT = 2000  # objects looked at among the arguments, and in a result


class Argument:
    """Stands for an object among the arguments."""

    __slots__ = ("path",)

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Argument, (self.path,)


class Returned:
    """A result that arguments stand in."""

    __slots__ = ("shape",)

    def __init__(self, shape):
        self.shape = shape

    def __reduce__(self):
        return Returned, (self.shape,)


class Streamed(Returned):
    """A result that arguments stand in, or objects that the function names: a pickle, and its buffers."""

    __slots__ = ()

    def __reduce__(self):
        return Streamed, (self.shape,)


class Raised:
    """An exception, as plain data; None: the call is to be made by the caller."""

    __slots__ = ("parts",)

    def __init__(self, parts):
        self.parts = parts

    def __reduce__(self):
        return Raised, (self.parts,)


# --- identity --------------------------------------------------------------------------------------------------


def _children(value):
    kind = type(value)
    if kind is list or kind is tuple:
        return enumerate(value)
    if kind is dict:
        return value.items()
    if kind in _ATOMS or isinstance(value, type):
        return ()
    inside = getattr(value, "__dict__", None)
    return inside.items() if type(inside) is dict else ()


def _paths(arguments):
    """id -> path of every object among the arguments that could be told from a copy."""
    found, todo = {}, [(arguments, ())]
    for value, path in todo:
        if len(todo) > _LIMIT:
            break
        for key, child in _children(value):
            if type(child) in _ATOMS or id(child) in found or not isinstance(key, (int, str)):
                continue
            found[id(child)] = (*path, key)
            todo.append((child, (*path, key)))
    return found


def _meets(result, found):
    seen, todo = set(), [result]
    for value in todo:
        if id(value) in found:
            return True
        if id(value) in seen or len(todo) > _LIMIT:
            continue
        seen.add(id(value))
        if type(value) in (list, tuple, dict):
            todo.extend(child for _, child in _children(value) if type(child) not in _ATOMS)
    return False


def _rebuilt(value, leaf, memo):
    """The same lists, tuples and dicts, with ``leaf`` asked about everything first."""
    instead = leaf(value)
    if instead is not None:
        return instead[0]
    kind = type(value)
    if kind not in (list, tuple, dict):
        return value
    if id(value) in memo:
        return memo[id(value)][0]
    if kind is list:
        made = []
        memo[id(value)] = made, value
        made.extend(_rebuilt(v, leaf, memo) for v in value)
    elif kind is dict:
        made = {}
        memo[id(value)] = made, value
        for k, v in value.items():
            made[k] = _rebuilt(v, leaf, memo)
    else:
        made = tuple(_rebuilt(v, leaf, memo) for v in value)
        memo[id(value)] = made, value
    return made


def outgoing(result, args, kwargs):
    """Of an async functional, which runs in the caller's process: the result, or what stands for it."""
    arguments = [tuple(args), kwargs or {}]
    found = _paths(arguments)
    found.pop(id(arguments[0]), None)
    found.pop(id(arguments[1]), None)
    if not found or not _meets(result, found):
        return result

    def leaf(value):
        path = found.get(id(value))
        return None if path is None else (Argument(path),)

    return Returned(_rebuilt(result, leaf, {}))


def _follow(path, arguments):
    value = arguments
    for key in path:
        value = value[key] if type(value) in (list, tuple, dict) else value.__dict__[key]
    return value


def sent(result, fresh, function, args, kwargs):
    """In the worker: the result, or what stands for it. fresh: nothing else refers to the result."""
    try:
        parts = _identity.stream(result, fresh, _around.function_of(function), tuple(args), kwargs or {})
    except Exception:  # Here, or it cannot be pickled that way
        return Raised(None)
    return result if parts is None else Streamed(parts)


def incoming(returned, args, kwargs, function=None):
    """At the caller: the result, with the caller's own arguments in it."""
    if type(returned) is Streamed:
        return _identity.result_of(returned.shape, tuple(args), kwargs or {}, function)
    arguments = [tuple(args), kwargs or {}]
    return _rebuilt(returned.shape, lambda v: (_follow(v.path, arguments),) if type(v) is Argument else None, {})


# --- exceptions ----------------------------------------------------------------------------------------------------

_PLAIN = (BaseException.__reduce__, BaseException.__setstate__)


def _named(exception):
    """What no argument of the class gives: the name that was not found, and where, if that is no copy there."""
    found = {}
    if isinstance(exception, (AttributeError, NameError)) and exception.name is not None:
        found["name"] = exception.name
    if isinstance(exception, AttributeError) and exception.obj is not None and _identity._is_atom(exception.obj):
        found["obj"] = exception.obj
    return found


def _parts(exception, seen):
    if exception is None or id(exception) in seen or len(seen) > 50:
        return None
    seen.add(id(exception))
    kind = type(exception)
    plain = kind.__reduce__ is _PLAIN[0] and kind.__setstate__ is _PLAIN[1]
    body = (kind, exception.args, {**exception.__dict__, **_named(exception)}) if plain else exception
    lines, trace = [], exception.__traceback__
    while trace is not None and len(lines) < 200:
        code = trace.tb_frame.f_code
        place = next(itertools.islice(code.co_positions(), trace.tb_lasti // 2, None), None)
        module = trace.tb_frame.f_globals.get("__name__")
        lines.append((code.co_filename, code.co_name, trace.tb_lineno, module, place))
        trace = trace.tb_next
    cause = _parts(exception.__cause__, seen)
    same = exception.__context__ is exception.__cause__
    context = None if same else _parts(exception.__context__, seen)
    return body, lines, cause, context, same, exception.__suppress_context__


def _carried(exception, found):
    """What it and those it comes from carry."""
    if exception is not None and exception not in found and len(found) < 50:
        found.append(exception)
        _carried(exception.__cause__, found)
        _carried(exception.__context__, found)
    return found


def raised(exception, function, args, kwargs):
    """In the worker: what stands for the exception."""
    if isinstance(exception, _identity.Here):
        return Raised(None)
    if (own := _around.function_of(function)) is not function:
        function, trace = own, exception.__traceback__
        while trace is not None and trace.tb_frame.f_code is _around.call.__code__:
            trace = trace.tb_next
        exception.__traceback__ = trace
    carried = [(one.args, one.__dict__) for one in _carried(exception, [])]
    try:
        if _identity.known(carried, function, tuple(args), kwargs or {}):
            return Raised(None)
    except Exception:  # too much to look at
        return Raised(None)
    return Raised(_parts(exception, set()))


def _stub():
    yield


def _varint(number):
    made = []
    while number >= 64:
        made.append(64 | number & 63)
        number >>= 6
    return bytes((*made, number))


def _placed(code, place):
    """The code, every instruction in its first line; place: (line, last line, column, last column), what a traceback underlines,
    or None: nothing."""
    units, table, where = len(code.co_code) // 2, b"", None
    if place is not None and None not in place and place[0] == code.co_firstlineno:
        line, last, column, end = place
        where = _varint(0) + _varint(last - line) + _varint(column + 1) + _varint(end + 1)
    while units > 0:
        kind = 13 if where is None else 14
        table += bytes((0x80 | kind << 3 | min(units, 8) - 1,)) + (b"\0" if where is None else where)
        units -= 8
    return code.replace(co_linetable=table)


_STUB = _stub.__code__


def _traceback(lines):
    """Frames that look like those the exception went through in the worker: of generators that never ran, because those know
    no caller, which they would keep alive."""
    made = None
    for filename, name, number, module, place in reversed(lines):
        code = _STUB.replace(co_filename=filename, co_name=name, co_qualname=name, co_firstlineno=number)
        code = _placed(code, place)
        frame = types.FunctionType(code, {"__name__": module, "__file__": filename})().gi_frame
        made = types.TracebackType(made, frame, 0, number)
    return made


def _rebuild(parts):
    body, lines, cause, context, same, suppress = parts
    if isinstance(body, BaseException):
        exception = body
    else:
        kind, args, inside = body
        exception = kind.__new__(kind, *args)
        next(base for base in kind.__mro__ if base.__module__ == "builtins").__init__(exception, *args)
        for name in {"name", "obj"} & inside.keys() if isinstance(exception, (AttributeError, NameError)) else ():
            setattr(exception, name, inside.pop(name))
        exception.__dict__.update(inside)
    exception.__traceback__ = _traceback(lines)
    if cause is not None:
        exception.__cause__ = _rebuild(cause)
    exception.__context__ = exception.__cause__ if same else _rebuild(context) if context is not None else None
    exception.__suppress_context__ = suppress
    return exception


def exception_of(stand_in):
    """At the caller: the exception. Raises Here."""
    if stand_in.parts is None:
        raise _identity.Here
    return _rebuild(stand_in.parts)
