"""How what children inherit reaches the workers of a pool: locks, queues, pipes, shared values and arrays.

A worker of Ergon is no child of the process that opened its pool, and inherits nothing. What is pickled is therefore who has
which descriptor, and the worker opens that through ``/proc``: shared memory and pipes have no name anywhere, as in a forked
child, and nothing can be left behind. Sockets cannot be opened that way: a thread of the owner hands them over.

Locks of the start method "fork" are semaphores in such shared memory (`lend_locks`), and those of the others have names. The object
itself has to be kept by whoever made it for as long as workers use it, as ever.
"""

import ctypes
import os
import stat
import threading
import weakref

from ergon.aliases import _inherited

__all__ = [
    "borrow",
    "inheritance",
    "lend",
    "lend_arenas",
    "lend_connections",
    "lend_locks",
    "name_worker",
    "share_memory",
]

_SIZE = 64  # of a semaphore, and more: each has a cache line of its own


used = False  # something was lent


def lend(descriptor):
    """What another process opens the descriptor by."""
    global used
    used = True
    status = os.fstat(descriptor)
    return os.getpid(), descriptor, status.st_dev, status.st_ino


def borrow(lent, flags, what):
    """A descriptor of this process for that of another one; OSError naming both if that is not possible."""
    owner, number, *identity = lent
    try:
        descriptor = os.open(f"/proc/{owner}/fd/{number}", flags | os.O_CLOEXEC)
    except OSError as error:
        raise OSError(error.errno, f"{_lost(what, owner)}: {error.strerror}") from None
    status = os.fstat(descriptor)
    if [status.st_dev, status.st_ino] != identity:
        os.close(descriptor)
        raise FileNotFoundError(_lost(what, owner))
    return descriptor


def _lost(what, owner):
    return (
        f"{what} belongs to process {owner}, which has closed it, has ended, or runs on another host: "
        "keep it for as long as others use it, or use a Manager"
    )


# --- memory -----------------------------------------------------------------------------------------------------------

_mapped = weakref.WeakValueDictionary()  # (device, inode) -> Arena


def lend_arenas(cls):
    """Lets the class's shared memory be pickled anywhere."""

    def reduce(arena):
        lent = vars(arena).get("_lent") or lend(arena.fd)
        return _map_arena, (arena.size, lent)

    cls.__reduce__ = reduce


def _map_arena(size, lent):
    from . import heap, util

    arena = _mapped.get(lent[2:])
    if arena is None:
        descriptor = borrow(lent, os.O_RDWR, "shared memory")
        arena = heap.Arena(size, descriptor)
        arena._lent = lent
        util.Finalize(arena, os.close, (descriptor,))
        _mapped[lent[2:]] = arena
    return arena


def share_memory(cls, namespace):
    """Lets workers attach to shared memory that has a name without becoming those who remove it when they end."""
    from . import resource_tracker

    if _inherited.values is None:
        return
    lent = _inherited.values["tracker"]
    if lent is not None:  # as forked children: all tell the one process
        try:
            resource_tracker._resource_tracker._fd = borrow(lent, os.O_WRONLY, "a resource tracker")
            return
        except OSError:
            pass
    namespace["resource_tracker"] = _Tracker(resource_tracker)
    original = cls.__init__

    def init(self, name=None, create=False, *args, **kwds):
        namespace["resource_tracker"].creating.value = create
        original(self, name, create, *args, **kwds)

    cls.__init__ = init


class _Tracker:
    """The tracker of a worker: it is told of what is made here only."""

    def __init__(self, tracker):
        self.creating = threading.local()
        self._tracker = tracker
        self._made = set()

    def register(self, name, kind):
        if getattr(self.creating, "value", True):
            self._made.add(name)
            self._tracker.register(name, kind)

    def unregister(self, name, kind):
        if name in self._made:
            self._made.discard(name)
            self._tracker.unregister(name, kind)


# --- locks --------------------------------------------------------------------------------------------------------------

_kept = []  # semaphores that were sent somewhere: their memory is not used for others


def lend_locks(cls):
    """Puts the locks of forked children into shared memory without a name, and lets them be pickled."""
    with_name, get_state, set_state = cls.__init__, cls.__getstate__, cls.__setstate__

    def init(self, kind, value, maxvalue, *, ctx):
        from . import context, util

        if ctx is None:
            ctx = context._default_context.get_context()
        if ctx.get_start_method() != "fork":
            with_name(self, kind, value, maxvalue, ctx=ctx)
            return
        self._is_fork_ctx = True
        self._room = _new_semaphore(value)
        _adopt(self, kind, maxvalue)
        util.register_after_fork(self, _after_fork)

    def getstate(self):
        if "_room" not in vars(self):
            return get_state(self)
        global used
        used = True
        _kept.append(self._room)
        return "room", self._room, self._semlock.kind, self._semlock.maxvalue

    def setstate(self, state):
        if state[0] != "room":
            set_state(self, state)
            return
        self._is_fork_ctx = True
        self._room = state[1]
        _adopt(self, *state[2:])

    cls.__init__, cls.__getstate__, cls.__setstate__ = init, getstate, setstate


def _after_fork(lock):
    lock._semlock._after_fork()


def _new_semaphore(value):
    from . import heap

    room = heap.BufferWrapper(_SIZE)
    if ctypes.CDLL(None, use_errno=True).sem_init(ctypes.c_void_p(_address(room)), 1, ctypes.c_uint(value)):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return room


def _address(room):
    return ctypes.addressof(ctypes.c_char.from_buffer(room.create_memoryview()))


def _adopt(lock, kind, maxvalue):
    """The lock is the semaphore in its room from now on. The memory stays mapped for as long as it has that."""
    from _multiprocessing import SemLock

    lock._semlock = SemLock._rebuild(_address(lock._room), kind, maxvalue, None)
    lock._make_methods()


# --- pipes --------------------------------------------------------------------------------------------------------------


def lend_connections(cls):
    """Lets the ends of pipes be pickled anywhere."""

    def reduce(connection):
        descriptor, way = connection.fileno(), (connection.readable, connection.writable)
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return _take_socket, (_offer(connection), *way)
        return _open_pipe, (lend(descriptor), *way)

    cls.__reduce__ = reduce


def _open_pipe(lent, readable, writable):
    from .connection import Connection

    flags = os.O_RDWR if readable and writable else os.O_RDONLY if readable else os.O_WRONLY
    return Connection(borrow(lent, flags, "a pipe"), readable, writable)


_sharer = None


def _offer(connection):
    """Where workers, any number of them, get the socket from."""
    from . import reduction, resource_sharer

    global _sharer
    if _sharer is None:
        _sharer = resource_sharer._ResourceSharer()
        _sharer._cache = _Offers()
    held = weakref.ref(connection)

    def send(to, process):
        reduction.send_handle(to, held().fileno(), process)

    identifier = _sharer.register(send, int)
    weakref.finalize(connection, dict.pop, _sharer._cache, identifier[1], None)
    return identifier


class _Offers(dict):
    """What is offered is taken more than once."""

    def pop(self, key):
        return self[key]


def _take_socket(identifier, readable, writable):
    from . import reduction, resource_sharer
    from .connection import Connection

    with resource_sharer._ResourceSharer.get_connection(identifier) as giver:
        return Connection(reduction.recv_handle(giver), readable, writable)


# --- who a worker is ------------------------------------------------------------------------------------------------------


def inheritance(context):
    """What the workers of a pool of that context get to know of this process."""
    import sys

    from . import process

    method = context.get_start_method()
    me = process.current_process()
    tracker = sys.modules.get("multiprocess.resource_tracker")
    descriptor = tracker and tracker._resource_tracker._fd
    return {
        "authkey": bytes(me.authkey),
        "method": method if isinstance(method, str) else "fork",
        "owner": os.getpid(),
        "name": me.name,
        "tracker": None if descriptor is None else lend(descriptor),
    }


def name_worker(namespace):
    """In a worker: its process has the name, the number, the key and the parent that the child of a pool would have."""
    inherited = _inherited.values
    if inherited is None:
        return
    me, number = namespace["_current_process"], _inherited.number()
    me._identity = (number,)
    me._name = f"{inherited['method'].capitalize()}PoolWorker-{number}"
    me.authkey = inherited["authkey"]
    me._parent_pid, me._parent_name = inherited["owner"], inherited["name"]
    try:
        sentinel = os.pidfd_open(inherited["owner"])
    except OSError:
        return
    namespace["_parent_process"] = namespace["_ParentProcess"](inherited["name"], inherited["owner"], sentinel)
