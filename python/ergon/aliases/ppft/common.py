"""Helpers that programs for ppft use."""

import threading

from ergon.aliases._legal import LICENSE as _license
from ergon.aliases._ports import portnumber, randomport  # noqa: F401

copyright = _license.splitlines()[2]
__version__ = version = "1.7.8"
long = int


def str_(byte):
    """Bytes as text, if they are ASCII."""
    if not hasattr(byte, "decode"):
        return byte
    return byte.decode("ascii", errors="backslashreplace")


def b_(string):
    """Text as bytes."""
    return string.encode("latin-1") if hasattr(string, "encode") else string


def start_thread(name, target, args=(), kwargs={}, daemon=True):
    """Start a thread; it is returned."""
    thread = threading.Thread(name=name, target=target, args=args, kwargs=kwargs, daemon=daemon)
    thread.start()
    return thread


def get_class_hierarchy(clazz):
    """The bases of a class, farthest first, and the class; without `object`."""
    if clazz is object:
        return []
    return [found for base in clazz.__bases__ for found in get_class_hierarchy(base)] + [clazz]


def is_not_imported(arg, modules):
    """Is the module of `arg` none of `modules`, nor in one of them?"""
    name = str(arg.__module__)
    return not any(name == module or name.startswith(module + ".") for module in modules)
