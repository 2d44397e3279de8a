"""What a forked child of the program would have of ``multiprocessing``, for the workers of a pool on this machine.

The key that managers and listeners are met with, and the process that removes shared memory when the program ends: a worker with one
of its own would remove what it has only attached to when it leaves. Nothing is imported until a task imports
``multiprocessing``.
"""

import os
import sys

__all__ = ["hooks", "snapshot"]


def snapshot():
    """None where the program has not imported ``multiprocessing``."""
    process = sys.modules.get("multiprocessing.process")
    if process is None:
        return None
    return {"authkey": bytes(process.current_process().authkey), "tracker": _tracker()}


def _tracker():
    """What another process opens the pipe of the program's resource tracker by."""
    module = sys.modules.get("multiprocessing.resource_tracker")
    if module is None:
        return None
    try:
        if "multiprocessing.shared_memory" in sys.modules:  # as it does itself with the first it makes
            module.ensure_running()
        descriptor = module._resource_tracker._fd
        if descriptor is None:
            return None
        status = os.fstat(descriptor)
    except (AttributeError, OSError):
        return None
    return os.getpid(), descriptor, status.st_dev, status.st_ino


def hooks(inherited):
    """In a worker: {name of a module: what is called when it has been imported}."""
    inherited = inherited or {"authkey": None, "tracker": None}
    found = {"multiprocessing.resource_tracker": lambda: _share_tracker(inherited["tracker"])}
    if inherited["authkey"] is not None:
        found["multiprocessing.process"] = lambda: _take_key(inherited["authkey"])
    return found


def _take_key(key):
    sys.modules["multiprocessing.process"].current_process().authkey = key


def _share_tracker(lent):
    module = sys.modules["multiprocessing.resource_tracker"]
    if lent is not None:
        try:
            module._resource_tracker._fd = _borrow(*lent)
            return
        except OSError:
            pass
    _leave_memory_alone(module)


def _borrow(owner, number, device, inode):
    descriptor = os.open(f"/proc/{owner}/fd/{number}", os.O_WRONLY | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if (status.st_dev, status.st_ino) != (device, inode):
        os.close(descriptor)
        raise FileNotFoundError(f"process {owner} has another file there by now")
    return descriptor


def _leave_memory_alone(module):
    """The program's tracker is not known: shared memory lasts until somebody unlinks it, and no worker does so unasked."""
    for name in ("register", "unregister"):
        setattr(module, name, _but_memory(getattr(module, name)))


def _but_memory(tell):
    def tell_others(name, rtype):
        if rtype != "shared_memory":
            tell(name, rtype)

    return tell_others
