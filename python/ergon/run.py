"""``python -P -m ergon.run ARGUMENTS``: the interpreter with the alias modules in front of its path.

``ergon run`` starts this. The process becomes ``python ARGUMENTS``, so that ``__main__``, ``sys.argv``, exit
status, signals, tracebacks and standard input are exactly what they are without ergon.
"""

import os
import sys


def environment(before):
    """The variables of a program that is to find the alias modules first, whatever it starts itself included.

    $ERGON_RUN_TRACE, where ``ergon run --trace`` has put a path, becomes $ERGON_TRACE, which the first process to
    import ergon takes: the program, and not this one.
    """
    from .aliases import folder

    after = dict(before)
    if "ERGON_RUN_TRACE" in after:
        after["ERGON_TRACE"] = after.pop("ERGON_RUN_TRACE")
    path = before.get("PYTHONPATH")
    rest = [part for part in path.split(os.pathsep) if part != folder()] if path else []
    after["PYTHONPATH"] = os.pathsep.join([folder(), *rest])
    return after


def main(arguments):
    """``python -m ergon.run ARGUMENTS``: becomes the interpreter with these arguments. Does not return; OSError if it cannot be
    started.
    """
    os.execve(sys.executable, [sys.executable, *arguments], environment(os.environ))


if __name__ == "__main__":
    main(sys.argv[1:])
