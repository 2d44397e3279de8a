"""What runs in a worker."""

import contextlib
import importlib
import io
import time
import traceback
import types


class Timed:
    """A function that returns how long it took, in seconds, together with its result."""

    def __init__(self, func):
        self._func = func

    def __call__(self, *args, **kwds):
        start = time.perf_counter()
        result = self._func(*args, **kwds)
        return time.perf_counter() - start, result


def run_job(func, args, depfuncs, modules):
    """Run one job of `Server.submit`: (seconds, result, output).

    The output is what it printed, with the traceback if it failed; the result is then None.
    """
    output = io.StringIO()
    start, result = time.perf_counter(), None
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            _provide(func, depfuncs, modules)
            result = func(*args)
        except Exception:
            print("An exception ended the job:")
            traceback.print_exc()
    return time.perf_counter() - start, result, output.getvalue()


def _provide(func, depfuncs, modules):
    """Put the modules and functions that a job was promised where it looks for its globals."""
    names = {dep.__name__: dep for dep in depfuncs}
    for module in modules:
        importlib.import_module(module)
        top = module.partition(".")[0]
        names[top] = importlib.import_module(top)
    for user in (func, *depfuncs):
        user = getattr(user, "__func__", user)
        if isinstance(user, types.FunctionType):
            for name, value in names.items():
                user.__globals__.setdefault(name, value)


def call_timed(func, calls):
    """Call `func` with each (args, kwds); the results with how long each took."""
    timed = Timed(func)
    return [timed(*args, **kwds) for args, kwds in calls]


def run_packed(payload):
    """Run a job that came over the network, and pack what it gives: (whether it ran, its result or what it raised)."""
    from ergon import dumps, loads

    try:
        function, args = loads(payload)
        return dumps((True, function(*args)))
    except Exception as error:
        try:
            return dumps((False, error))
        except Exception:
            return dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
