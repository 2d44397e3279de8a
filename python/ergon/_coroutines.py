"""Where calls of async functionals run: on the program's event loop, or on one in a thread of ours."""

import asyncio
import atexit
import collections
import os
import threading
import types
import weakref

from . import _core
from ._functional import outgoing

_ATOMS = frozenset({int, float, complex, bool, str, bytes, type(None)})


def _copied(args, kwargs):
    """The arguments as they are now, and whether they are copies. What cannot be copied is handed over as it is."""
    if all(type(a) in _ATOMS for a in args) and all(type(a) in _ATOMS for a in kwargs.values()):
        return args, kwargs, False
    try:
        return *_core.loads(_core.dumps((args, kwargs))), True
    except Exception:
        return tuple(_copy(a) for a in args), {k: _copy(v) for k, v in kwargs.items()}, True


def _copy(value):
    if type(value) in _ATOMS:
        return value
    try:
        return _core.loads(_core.dumps(value))
    except Exception:
        return value


async def _run(job, function, args, kwargs, copied, owner):
    try:
        value = await function(*args, **kwargs)
        if copied:
            value = outgoing(value, args, kwargs)
    except BaseException as error:  # the caller gets it, whatever it is
        if error.__traceback__ is not None:
            error.__traceback__ = error.__traceback__.tb_next
        job.finish(None, error)
    else:
        job.finish(value, None)
    if owner is not None and (coroutine := owner()) is not None:
        if coroutine.cr_running or coroutine.cr_suspended:
            look_soon(owner, _pause)
        else:
            _core._flow_sweep()


# --- a loop of our own -------------------------------------------------------------------------------------------


class _Loop:
    """An event loop in a thread. `start` may be called from any thread."""

    def __init__(self):
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self.calls = collections.deque()
        self.woken = False
        self.thread = threading.Thread(target=self._main, name="ergon-coroutines", daemon=True)
        self.thread.start()

    def _main(self):
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            tasks = asyncio.all_tasks(self.loop)
            for task in tasks:
                task.cancel()
            if tasks:
                self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()

    def start(self, call):
        self.calls.append(call)
        if not self.woken:
            self.woken = True
            self.loop.call_soon_threadsafe(self._take)

    def _take(self):
        self.woken = False
        while self.calls:
            call = self.calls.popleft()
            if not call[0].dropped:
                call[0].task = self.loop.create_task(_run(*call))

    def stop(self):
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.loop.stop)
        if threading.current_thread() is not self.thread:
            self.thread.join()


_lock = threading.Lock()
_own = None


def _ours():
    global _own
    with _lock:
        if _own is None or _own.pid != os.getpid():
            _own = _Loop()
        return _own


def end():
    """Stops our loop; what runs there is cancelled. The next call starts another."""
    global _own
    with _lock:
        own, _own = _own, None
    if own is not None and own.pid == os.getpid():
        own.stop()


atexit.register(end)


# --- called by the core ---------------------------------------------------------------------------------------------


def start(job, function, args, kwargs, owner):
    """Begins a call: on the running loop if it belongs to `owner`, a scheduled coroutine; else on ours."""
    args, kwargs, copied = _copied(args, kwargs or {})
    if owner is None:
        _ours().start((job, function, args, kwargs, copied, None))
    else:
        loop = asyncio.get_running_loop()
        job.task = loop.create_task(_run(job, function, args, kwargs, copied, weakref.ref(owner)))


def drop(job):
    """Nobody wants the result any more."""
    job.dropped = 1
    task = job.task
    if task is not None and not task.done():
        loop = task.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(task.cancel)


_looks: set[weakref.ref] = set()
_pause = 0.0005


def look_soon(owner, pause=0):
    """Has the core look for calls ahead of a scheduled coroutine, once it waits."""
    if isinstance(owner, weakref.ref):
        owner = owner()
    owner = weakref.ref(owner, _looks.discard)
    if owner not in _looks:
        _looks.add(owner)
        loop = asyncio.get_running_loop()
        if pause:
            loop.call_later(pause, _look, owner)
        else:
            loop.call_soon(_look, owner)


def _look(owner):
    global _pause
    _looks.discard(owner)
    coroutine = owner()
    if coroutine is not None:
        loop = asyncio.get_running_loop()
        before = loop.time()
        if _core._flow_look(coroutine):
            _pause = max(0.0005, 3 * (loop.time() - before))


_LIBRARIES = frozenset({"asyncio", "anyio", "trio", "curio", "uvloop"})
_HANDLES = frozenset({"run_until_complete", "run_coroutine_threadsafe", "create_task", "ensure_future", "iscoroutine"})


def drives(code, space):
    """Whether a function handles coroutines itself: it mentions an event loop."""
    for name in code.co_names:
        value = space.get(name)
        if isinstance(value, types.ModuleType):
            name, value = value.__name__.partition(".")[0], None
        module = getattr(value, "__module__", None)
        if name in _LIBRARIES or name in _HANDLES or str(module).partition(".")[0] in _LIBRARIES:
            return True
    return False
