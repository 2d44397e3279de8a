"""The modules of `multiprocess` are the standard library's, of whatever version runs them, under another name.

The code of ``multiprocessing.x`` is run as ``multiprocess.x``. Its imports are relative, so that everything in it is the
package's own: classes, contexts, the start method that was set, the process every child knows as itself. What names the package
in words (commands of children, the logger) is renamed.
"""

import importlib.util
import re

from ergon.aliases import folder

__all__ = ["borrow"]

_OLD = re.compile(
    r"(?<!--)\bmultiprocessing\b"
)  # what programs that are frozen are asked by stays: --multiprocessing-fork
_COMMAND = re.compile(r"from multiprocess\.\w+ import (spawn_main|main);")


def borrow(name, namespace, names=None):
    """Runs the standard library's module `name` in the namespace of the calling module. `names` in it are replaced."""
    code = importlib.util.find_spec(name).loader.get_code(name)
    exec(_renamed(code, names or {}), namespace)


def _renamed(code, names):
    return code.replace(
        co_names=tuple(names.get(name) or _OLD.sub("multiprocess", name) for name in code.co_names),
        co_consts=tuple(_constant(value, names) for value in code.co_consts),
    )


def _constant(value, names):
    if isinstance(value, type(_renamed.__code__)):
        return _renamed(value, names)
    if not isinstance(value, str):
        return value
    text = _OLD.sub("multiprocess", value)
    if _COMMAND.match(text):  # a child finds the package where it is here, whatever its path is
        where = repr(folder()).replace("%", "%%")
        text = f"import sys; sys.path.insert(0, {where}); {text}"
    return text
