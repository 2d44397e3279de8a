"""Wrappers around fork, and the text of an exception."""

import os
import traceback


def _str(byte, codec=None):
    """Bytes as text, in ASCII if no codec is given; anything else, or with False, as it is."""
    return byte.decode(codec or "ascii") if hasattr(byte, "decode") and codec is not False else byte


def _b(string, codec=None):
    """Text as bytes, in ASCII if no codec is given; anything else, or with False, as it is."""
    return string.encode(codec or "ascii") if hasattr(string, "encode") and codec is not False else string


def print_exc_info():
    """The traceback of the exception that is being handled, as text."""
    return traceback.format_exc()


def spawn(onParent, onChild):
    """Fork: onParent(pid, fromchild) here, onChild(pid, toparent) in the child; with a pipe to the parent."""
    from_child, to_parent = os.pipe()
    pid = os.fork()
    if pid:
        os.close(to_parent)
        return onParent(pid, os.fdopen(from_child, "rb"))
    os.close(from_child)
    return onChild(os.getpid(), os.fdopen(to_parent, "wb", 0))


def spawn2(onParent, onChild):
    """Fork: onParent(pid, fromchild, tochild) here, onChild(pid, fromparent, toparent) in the child."""
    from_parent, to_child = os.pipe()
    from_child, to_parent = os.pipe()
    pid = os.fork()
    if pid:
        os.close(to_parent)
        os.close(from_parent)
        return onParent(pid, os.fdopen(from_child, "rb"), os.fdopen(to_child, "wb", 0))
    os.close(to_child)
    os.close(from_child)
    return onChild(os.getpid(), os.fdopen(from_parent, "rb"), os.fdopen(to_parent, "wb", 0))
