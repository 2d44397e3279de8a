"""Check mode (``ERGON_CHECK=1``): every scheduled function runs both ways, and every functional is looked at.

A scheduled function runs sequentially in a forked copy of the process, and in this one as ever, with its calls in workers.
What it returns or raises, prints, and leaves of its arguments is compared. In the copy, each call of a functional runs
twice on copies of its arguments and once as it is. Reported, once for each functional, with the place it is defined at: it
changed an argument; it gave two results for one input; a global it reads is not what it was at an earlier call; a worker
gave another result than sequential execution.

A scheduled generator is compared item by item: each time it is resumed, first a forked copy of the process resumes it, so
that whatever was done between two items is as it is. A scheduled coroutine is run as a whole in a forked copy, on an event
loop of its own, while it runs here.
"""

import asyncio
import contextlib
import contextvars
import functools
import inspect
import io
import os
import signal
import sys
import threading
import types

from . import _core

_said: set[tuple[str, str]] = set()
_LAZY = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
_child = None  # in the forked copy: what is to be reported, and the calls of functionals


def wanted():
    return os.environ.get("ERGON_CHECK", "") not in ("", "0")


def _bytes(value):
    """Bytes that are equal for equal values; None for what cannot be pickled."""
    try:
        return _core.dumps(value)
    except Exception:
        return None


def _content(value):
    """Names the value, whatever of its parts are one object, and however arrays lie in memory; None where that is not known."""
    try:
        return _core.digest(value)
    except Exception:
        return _bytes(value)


def _place(function):
    function = getattr(function, "__wrapped__", function)
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else getattr(function, "__module__", "?")


def _report(place, words):
    if (place, words) in _said:
        return
    _said.add((place, words))
    if _child is not None:
        _child.said.append((place, words))
    else:
        print(f"ergon check: {place}: {words}", file=sys.stderr, flush=True)


def _name(function):
    return getattr(function, "__qualname__", repr(function))


def _say(function, words):
    _report(_place(function), f"functional {_name(function)}() {words}")


# --- calls of functionals, in place ---------------------------------------------------------------------------------


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
    return a[1] == b[1] if a[0] == "exception" else _content(a[1]) == _content(b[1])


_seen: dict[int, dict] = {}  # functional -> its globals as they were first


def _watch(functional, args, kwargs):
    """A call of a functional that is not in a scheduled function, or in one that runs sequentially."""
    function, kwargs = functional.__wrapped__, kwargs or {}
    code = getattr(function, "__code__", None)
    if code is not None and code.co_flags & _LAZY:  # there is nothing to look at yet
        return function(*args, **kwargs)
    seen = _seen.setdefault(id(functional), {})
    for name, value in _globals(function).items():
        if seen.setdefault(name, value) != value:
            _say(function, f"reads the global {name!r}, which changes between its calls")
    before = _bytes((args, kwargs))
    if before is not None:
        first, second = (_outcome(function, *_core.loads(before)) for _ in range(2))
        if not _same(first, second):
            _say(function, "gave two results for one input")
    result, error = None, None
    try:
        result = function(*args, **kwargs)
        return result
    except Exception as raised:
        error = raised
        raise
    finally:
        if before is not None and _bytes((args, kwargs)) != before:
            _say(function, "changed an argument")
        if _child is not None:
            _child.calls.append(_call(functional, before, result, error))


def _call(functional, before, result, error):
    outcome = _content(result) if error is None else (type(error).__qualname__, repr(error.args))
    return _place(functional), _name(functional), before, outcome


# --- scheduled functions, both ways ---------------------------------------------------------------------------------


class _Recorder:
    """Standard output, remembered; what is written goes on to `onward`, if that is there."""

    def __init__(self, onward):
        self.onward, self.parts = onward, []

    def write(self, text):
        self.parts.append(text)
        return self.onward.write(text) if self.onward is not None else len(text)

    def flush(self):
        if self.onward is not None:
            self.onward.flush()

    def __getattr__(self, name):
        return getattr(sys.__stdout__ if self.onward is None else self.onward, name)


class _Child:
    def __init__(self):
        self.said, self.calls = [], []


def _came(result, error, kind):
    """What came of it, as plain data. kind: of what there is without an exception, "result" or "item"."""
    if isinstance(error, StopIteration) and kind == "item":
        return "end with", _content(error.value), repr(error.value)[:200]
    if error is not None:
        return "exception", (type(error).__qualname__, repr(error.args)), repr(error)[:200]
    return kind, _content(result), repr(result)[:200]


def _run(work, arguments, onward, kind="result"):
    """(what came of it, the arguments then, what was printed), as plain data; the result; the exception."""
    recorder = _Recorder(onward)
    result = error = None
    with contextlib.redirect_stdout(recorder):
        try:
            result = work()
        except BaseException as raised:
            error = raised
    return (_came(result, error, kind), _content(arguments), "".join(recorder.parts)), result, error


def _fork(work):
    """(process, descriptor) of a forked copy of this process, which calls work() with everything made sequentially and in
    place; _received has what became of it."""
    sys.stdout.flush()
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        return pid, read
    global _child
    status = 1
    try:
        os.close(read)
        _child = _Child()
        _core._flow_enable(False)
        _core._flow_watch(_watch, None, None)
        plain = work()
        with io.FileIO(write, "w") as pipe:
            data = memoryview(_core.dumps((plain, _child.said, _child.calls)))
            while data:
                data = data[pipe.write(data) :]
        status = 0
    finally:
        os._exit(status)


def _received(pid, read):
    """(the plain data, what is to be reported, the calls); None: it ended early."""
    with io.FileIO(read) as pipe:
        data = pipe.readall()
    os.waitpid(pid, 0)
    return _core.loads(data) if data else None


_WHAT = ("what comes of it", "what it leaves of its arguments", "what it prints")


def _compare(function, plain, scheduled):
    """Whether both runs were the same; reports what was not."""
    place, name = _place(function), f"scheduled {_name(function)}()"
    (kind, data, text), arguments, output = plain
    (kind2, data2, text2), arguments2, output2 = scheduled
    if kind != kind2 or (data != data2 and text != text2) or (data != data2 and None not in (data, data2)):
        _report(place, f"{name}: {_WHAT[0]} differs: sequentially {kind} {text}, in parallel {kind2} {text2}")
    elif arguments != arguments2 and None not in (arguments, arguments2):
        _report(place, f"{name}: {_WHAT[1]} differs between sequential and parallel execution")
    elif output != output2:
        _report(place, f"{name}: {_WHAT[2]} differs: sequentially {output[:200]!r}, in parallel {output2[:200]!r}")
    else:
        return True
    return False


def _judge(function, found, after, calls):
    """Reports what the sequential run found, and how the parallel one differs from it; whether it does not."""
    if found is None:
        _report(
            _place(function), f"scheduled {_name(function)}(): its sequential run ended early; nothing was compared"
        )
        return False
    plain, said, expected = found
    for place, words in said:
        _report(place, words)
    for (place, name, before, one), (place2, _, before2, other) in zip(expected, calls, strict=False):
        if place != place2 or before != before2:
            break
        if one != other and None not in (one, other):
            _report(place, f"functional {name}() gave another result in a worker than sequentially")
            break
    return _compare(function, plain, after)


_inside_coroutine = contextvars.ContextVar("ergon_check", default=False)  # in a coroutine that is being compared
_inside = threading.local()  # .compares: this thread is in something that is being compared as a whole


def _compared(function, work, arguments, watch, kind="result"):
    """work() twice, first in a forked copy: the result and the exception it has here, and whether they were the same."""
    calls = []

    def record(functional, a, k, result, error):
        calls.append(_call(functional, _bytes((a, k or {})), result, error))

    _core._flow_watch(watch, record, None)
    _inside.compares = True
    try:
        found = _received(*_fork(lambda: _run(work, arguments, None, kind)[0]))
        after, result, error = _run(work, arguments, sys.stdout, kind)
    finally:
        _inside.compares = False
        begin()
    return result, error, _judge(function, found, after, calls)


def _both(scheduled, args, kwargs):
    """A call of a scheduled function, both ways; it gives what parallel execution gives."""
    function, kwargs = scheduled.__wrapped__, kwargs or {}
    flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
    if flags & inspect.CO_ASYNC_GENERATOR:  # those are not run ahead of
        return function(*args, **kwargs)
    if flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE):
        inner = function(*args, **kwargs)
        both = _generator if flags & inspect.CO_GENERATOR else _coroutine
        outer = both(function, inner, (args, kwargs))
        outer.__name__, outer.__qualname__ = inner.__name__, inner.__qualname__
        return outer
    result, error, _ = _compared(function, functools.partial(scheduled, *args, **kwargs), (args, kwargs), _watch)
    if error is not None:
        raise error
    return result


# --- generators and coroutines ----------------------------------------------------------------------------------------


def _generator(function, inner, arguments):
    """The items of the scheduled generator `inner`, each both ways until one differs."""
    same = True
    resume = functools.partial(next, inner)
    while True:
        if not same or _child is not None or getattr(_inside, "compares", False):
            item, error = None, None
            try:
                item = resume()
            except BaseException as raised:
                error = raised
        else:
            item, error, same = _compared(function, resume, arguments, None, "item")
        if isinstance(error, StopIteration):
            return error.value
        if error is not None:
            raise error
        try:
            resume = functools.partial(inner.send, (yield item))
        except GeneratorExit:
            inner.close()
            raise
        except BaseException as thrown:
            resume = functools.partial(inner.throw, thrown)


def _seconds():
    """How long the sequential run of a coroutine may take."""
    return float(os.environ.get("ERGON_CHECK_SECONDS", "60"))


def _alone(function, arguments):
    """The coroutine, run in a forked copy of a process whose event loop runs: plain data."""
    asyncio._set_running_loop(None)
    args, kwargs = arguments
    limit = None

    async def limited():
        nonlocal limit
        async with asyncio.timeout(_seconds()) as limit:
            return await function(*args, **kwargs)

    result = error = None
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            result = asyncio.run(limited())
        except BaseException as raised:
            error = raised
    return None if limit.expired() else (_came(result, error, "result"), _content(arguments), "")


async def _coroutine(function, inner, arguments):
    """The scheduled coroutine `inner`, with its like in a forked copy beside it."""
    if _child is not None or _inside_coroutine.get():
        return await inner
    token = _inside_coroutine.set(True)
    copy = _fork(lambda: _alone(function, arguments))
    result = error = None
    try:
        result = await inner
    except BaseException as raised:
        error = raised
    finally:
        _inside_coroutine.reset(token)
    after = _came(result, error, "result"), _content(arguments), ""
    if isinstance(error, asyncio.CancelledError):  # by who awaits it: there is nothing to compare
        os.kill(copy[0], signal.SIGKILL)
    found = await asyncio.get_running_loop().run_in_executor(None, _received, *copy)
    if found is not None and found[0] is None:
        _report(
            _place(function),
            f"scheduled {_name(function)}(): its sequential run was not through after {_seconds():g} s; nothing was compared "
            "(ERGON_CHECK_SECONDS sets the limit)",
        )
    elif not isinstance(error, asyncio.CancelledError):
        _judge(function, found, after, [])
    if error is not None:
        raise error
    return result


def begin():
    """From now on scheduled functions run both ways, and functionals outside of them are looked at."""
    _core._flow_watch(_watch, None, _both)
