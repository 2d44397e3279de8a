"""``python -m ergon.doctor``: whether this interpreter can run pools. ``ergon doctor`` shows the rest as well."""

import json
import os
import platform
import sys
import sysconfig
import time


def checks():
    """The findings, in order: dictionaries with name, verdict (OK, WARN or FAIL), found and advice."""
    found = [_python(), _package(), _numpy()]
    for start in _pools:
        found.append(_pool(*start))
        if found[-1]["verdict"] == "FAIL":
            break
    return found


def _finding(verdict, name, found, advice=""):
    return {"name": name, "verdict": verdict, "found": found, "advice": advice}


def _python():
    text = f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}"
    if sys.version_info < (3, 11) or platform.python_implementation() != "CPython":
        return _finding("FAIL", "python", text, "CPython 3.11 or newer is needed")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return _finding("WARN", "python", text + ", without a GIL", "this build is not tested with ergon")
    return _finding("OK", "python", text)


def _package():
    from . import __version__

    folder = os.path.dirname(__file__)
    return _finding("OK", "ergon", f"{__version__}, {folder}")


def _numpy():
    try:
        import numpy
    except ImportError:
        return _finding("OK", "numpy", "not installed; ergon does not need it")
    return _finding("OK", "numpy", numpy.__version__)


_pools = [("ThreadPool", "threads"), ("ProcessPool", "processes")]


def _pool(kind, name):
    """Whether a pool starts, runs a task and ends, and how long that took."""
    import ergon

    began = time.perf_counter()
    try:
        with getattr(ergon, kind)(1) as pool:
            answer = pool.pipe(sum, (20, 22))
    except Exception as error:
        return _finding(
            "FAIL", name, f"{kind}(1): {type(error).__name__}: {error}", "see the lines above for the cause"
        )
    spent = (time.perf_counter() - began) * 1000
    if answer != 42:
        return _finding("FAIL", name, f"{kind}(1): 20 + 22 came back as {answer!r}", "report this as a bug")
    return _finding("OK", name, f"{kind}(1) started, ran a task and ended in {spent:.0f} ms")


def main(arguments):
    """Prints what `checks` found, a line each, or JSON with ``--json`` among the arguments; whether anything FAILs."""
    found = checks()
    if "--json" in arguments:
        print(json.dumps(found))
    else:
        for one in found:
            print(f"{one['verdict']:4}  {one['name']:16} {one['found']}")
            if one["advice"]:
                print(f"{'-> ':>24}{one['advice']}")
    return any(one["verdict"] == "FAIL" for one in found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
