"""What workers need of Python before their first task, on both sides of the fork."""

import sys

__all__ = ["breathe", "initialize", "keep", "message", "set_path", "setup", "start_thread", "zygote", "zygote_argv"]

_BOOT = "import sys;sys.path.insert(0,sys.argv[1]);from ergon import _core,_worker;sys.exit(_worker.zygote())"


def _flags():
    """The interpreter's flags that change what programs mean, as they were given."""
    f = sys.flags
    out = []
    if f.optimize:
        out.append("-" + "O" * f.optimize)
    if f.dont_write_bytecode:
        out.append("-B")
    if f.no_user_site:
        out.append("-s")
    if f.isolated:
        out.append("-I")
    elif f.ignore_environment:
        out.append("-E")
    for value in sys.warnoptions:
        out.append("-W" + value)
    for name, value in getattr(sys, "_xoptions", {}).items():
        if name != "importtime":
            out += ["-X", name if value is True else f"{name}={value}"]
    return out


def _plain_path():
    """True when nothing but sys.path says where modules are: then a worker needs no ``site``, only the list."""
    finders = ("BuiltinImporter", "FrozenImporter", "PathFinder")
    return all(getattr(f, "__name__", type(f).__name__) in finders for f in sys.meta_path if not _is_setuptools(f))


def _is_setuptools(finder):
    """Its stand-in for ``distutils``, on every path that has setuptools: workers put it there when it is asked for."""
    return type(finder).__module__ == "_distutils_hack" or isinstance(finder, _Distutils)


class _Distutils:
    """In a worker that began without ``site``: whoever imports ``distutils`` gets the one its owner would get."""

    def find_spec(self, name, path=None, target=None):
        if name != "distutils":
            return None
        sys.meta_path.remove(self)
        try:
            import _distutils_hack
        except ImportError:
            return None
        _distutils_hack.add_shim()
        return _distutils_hack.DISTUTILS_FINDER.find_spec(name, path, target)


def zygote_argv(preload=0):
    """The command line of the process workers are forked from.

    preload: what that imports before it forks: 1: what functionals need, and some of what the program has imported;
    2: NumPy as well.
    """
    if not sys.executable:
        from .errors import LaunchError

        raise LaunchError(
            "worker processes cannot be started: sys.executable is empty. Set it to a Python interpreter, or use threads"
        )
    import os

    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    skip_site = ["-S"] if _plain_path() else []
    more = []
    if preload:  # what leads to a module here does so there
        names = [name for name in _COMMON if _is_standard(name)] + ["numpy"][: preload - 1]
        more = [",".join(["ergon._functional", *names]), *(p for p in sys.path if isinstance(p, str))]
    return [sys.executable, *_flags(), *skip_site, "-c", _BOOT, here, *more]


# Modules that take a while, that programs whose functions and classes workers import often need, and that can be forked.
_COMMON = ("dataclasses", "typing", "random", "json", "datetime", "decimal", "statistics")


def _is_standard(name):
    """The program has imported it, and it is the standard library's."""
    import os

    file = getattr(sys.modules.get(name), "__file__", None) or ""
    return file.removesuffix("/__init__.py").removesuffix(".py") == os.path.join(os.path.dirname(os.__file__), name)


def message(initializer=None, initargs=(), elsewhere=False, modules=None, keeps=True):
    """What a pool tells its workers when they start, as bytes. elsewhere: they are on other hosts. modules:
    "ship": they may ask for those they lack. keeps: what is in the globals of functions, and in modules, is as a fork would have it (of functionals
    the scheduler knows)."""
    import os

    from . import _core, _inherited, _logs, _modules
    from ._felt import _umask

    main = sys.modules.get("__main__")
    surroundings = keeps and not elsewhere
    try:
        cwd = os.getcwd()
    except OSError:
        cwd = None
    return _core.dumps(
        {
            "elsewhere": elsewhere,
            "modules": modules,
            "path": list(sys.path),
            "argv": list(getattr(sys, "argv", [])),
            "prefix": (sys.prefix, sys.exec_prefix),
            "cwd": cwd,
            "environ": None if elsewhere else dict(os.environ),
            "main": {k: getattr(main, k) for k in ("__file__", "__doc__") if isinstance(getattr(main, k, None), str)},
            "umask": None if elsewhere else _umask(),
            "recursion": sys.getrecursionlimit(),
            "distutils": any(map(_is_setuptools, sys.meta_path)),
            "keeps": keeps,
            "state": _modules.snapshot() if surroundings else None,
            "logs": None if elsewhere else _logs.snapshot(),
            "inherited": None if elsewhere else _inherited.snapshot(),
            # bytes of their own: they may name modules only the path above leads to
            "initializer": initializer and _core.dumps((initializer, tuple(initargs))),
        }
    )


def zygote():
    """Body of the zygote: imports what every worker needs, so that a fork is all a worker costs. Ends with its owner."""
    import os  # noqa: F401
    import site  # noqa: F401  (with -S it does nothing by itself)

    from . import _core, _inherited, _main_names, _modules, errors  # noqa: F401

    if len(sys.argv) > 2:
        _preload(sys.argv[2].split(","), sys.argv[3:])
    _leave(_core._zygote_main())


def _leave(status):
    """The end of a worker: what a program may count on when it ends, without taking the interpreter apart.

    Threads are waited for, what ``atexit`` knows is called, and files that are open are written out.
    """
    from . import _core

    threading, atexit = sys.modules.get("threading"), sys.modules.get("atexit")
    try:
        if threading:
            threading._shutdown()
        if atexit:
            atexit._run_exitfuncs()
        _flush()
    finally:
        _core._leave(status)


def _flush():
    import gc
    import io

    for kinds in ((io.TextIOWrapper,), (io.BufferedWriter, io.BufferedRandom)):
        for file in [o for o in gc.get_objects() if type(o) in kinds]:
            try:
                if not file.closed:
                    file.flush()
            except Exception:  # noqa: S112  (one that was detached, or whose disk is full: nobody is left to tell)
                continue


def _preload(names, path):
    """Imports what takes long and can be forked, also NumPy: that stops its threads for a fork."""
    import _signal

    own = sys.path[:]
    # Threads that a library starts must not take the signals this process waits for.
    before = _signal.pthread_sigmask(_signal.SIG_SETMASK, _signal.valid_signals())
    try:
        for name in names:
            __import__(name)
            sys.path[:] = path
    except Exception:  # then a worker that needs it says why
        pass
    sys.path[:] = own
    _signal.pthread_sigmask(_signal.SIG_SETMASK, before)


def _setup_process(m):
    import _signal  # what `signal` wraps in enums
    import os

    from . import _core, _inherited, _modules

    global _elsewhere
    _elsewhere = m["elsewhere"]
    sys.argv[:] = m["argv"]
    if _elsewhere:
        _add_path(m["path"])
        if m["modules"] is not None:
            from . import _ship

            _ship.install()
    else:
        sys.path[:] = m["path"]
        sys.prefix, sys.exec_prefix = m["prefix"]
    if m["cwd"] is not None:
        try:
            os.chdir(m["cwd"])
        except OSError:
            pass
    if not _elsewhere and dict(os.environ) != m["environ"]:
        zone = os.environ.get("TZ")
        os.environ.clear()
        os.environ.update(m["environ"])
        if zone != os.environ.get("TZ"):
            import time

            time.tzset()
    if m["umask"] is not None:
        os.umask(m["umask"])
    if sys.flags.no_site:
        import site

        for name in ("setquit", "setcopyright", "sethelper"):
            getattr(site, name)()
        if m["distutils"]:
            sys.meta_path.insert(0, _Distutils())
    main = sys.modules["__main__"]
    for name, value in m["main"].items():
        setattr(main, name, value)
    sys.setrecursionlimit(m["recursion"])
    then = _inherited.hooks(m["inherited"])
    if m["logs"]:
        from . import _logs

        then["logging"] = lambda: _logs.install(m["logs"])
    _modules.install(m["state"] or {}, then)
    for stream in (sys.stdout, sys.stderr):
        # What a task prints is seen although the worker may be killed at any time.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True)
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
    _signal.signal(_signal.SIGURG, _core._interrupt)


_elsewhere = False  # this worker is on another host than its owner


def _add_path(path):
    """Where the owner finds modules, as far as that is here as well."""
    import os

    sys.path += [p for p in path if p not in sys.path and os.path.isabs(p) and os.path.exists(p)]


def breathe():
    """A moment of Python, for what waits to happen between two steps of it."""


def set_path(data):
    """The owner's sys.path has changed since this worker started."""
    import importlib

    from . import _core

    if _elsewhere:
        _add_path(_core.loads(data))
    else:
        sys.path[:] = _core.loads(data)
    importlib.invalidate_caches()


def setup(data):
    """Runs in each worker process before its first task."""
    from . import _core, _main_names

    _main_names.install()
    m = _core.loads(data)
    _setup_process(m)
    if "numpy.random" in sys.modules:  # it came with the fork, and would give every worker the same numbers
        sys.modules["numpy.random"].seed()
    if m["keeps"]:
        _core._keep_globals(keep)
    if m["initializer"]:
        initialize(m["initializer"])


_set: dict = {}  # module -> {name: what an initializer bound it to}
_set_in: list = []  # (class, or name of a function, {attribute: what an initializer set it to})
_kept: dict = {}  # (module, name) -> (digest of what travelled, what that is by now)


def keep(space, small, owner=None):
    """The globals of a function that a task brought along, or what is to be set of the class `owner`, become what this worker
    has by now: what initializers bound, and mutable ones of which the same came before, with what tasks have made of them
    since. small: all of those, not only random number generators."""
    from . import _core, _whose

    module = space.get("__name__") if owner is None else f"{owner.__module__}:{owner.__qualname__}"
    if not isinstance(module, str):
        return
    for name, value in list(space.items()):
        if name.startswith("__") or type(value) in _whose._ATOMS or issubclass(type(value), _CODE):
            continue
        if not small and not _whose._is_random(value):
            continue
        known = _kept.get((module, name))
        if known is not None and known[1] is value:  # of another function of the same stream
            continue
        try:
            digest = _core.digest(value, size=16)
        except Exception:  # S112  (nothing says whether it is the same)
            continue
        if known is not None and known[0] == digest:
            space[name] = known[1]
        else:
            _kept[module, name] = digest, value
    if owner is not None:
        return
    if module in _set:
        space.update(_set[module])
    for one, changed in _set_in:
        if type(one) is str:
            one = space.get(one)  # a function: each stream makes it anew
        if one is not None:
            _restore(one, changed)


def _restore(owner, changed):
    for name, value in changed.items():
        if vars(owner).get(name, changed) is not value:
            try:
                setattr(owner, name, value)
            except Exception:  # a metaclass that minds  # noqa: S112
                continue


# What nobody changes by using it.
_CODE: tuple = (type, type(keep), type(sys), type(len), property, classmethod, staticmethod)


def initialize(data):
    """Calls an initializer, pickled with its arguments. What that sets in its globals, and makes of them, is there for the
    functions of tasks."""
    from . import _core

    function, args = _core.loads(data)
    space = _globals_of(function)
    keep(space, True)
    before = dict(space)
    owners = [(owner, dict(vars(owner))) for owner in _owners(function, space)]
    function(*args)
    changed = _changed(before, space)
    if changed and isinstance(space.get("__name__"), str):
        _set.setdefault(space["__name__"], {}).update(changed)
    for owner, was in owners:
        changed = _changed(was, vars(owner))
        if changed:
            _set_in.append((owner if isinstance(owner, type) else owner.__name__, changed))


def _changed(before, after):
    return {name: value for name, value in after.items() if name not in before or before[name] is not value}


def _owners(function, space):
    """Classes and functions of the program's own that an initializer may set attributes of."""
    found = list(space.values())
    itself = getattr(function, "__self__", None)
    found += [itself, type(itself)]
    name = space.get("__name__")
    return [one for one in found if issubclass(type(one), (type, type(keep))) and one.__module__ == name]


def _globals_of(function):
    """Those of a function that came by value; one of a module here has the module's, which all share."""
    for _ in range(100):
        space = getattr(function, "__globals__", None)
        if space is not None:
            return {} if getattr(sys.modules.get(space.get("__name__")), "__dict__", None) is space else space
        inner = getattr(function, "func", None) or getattr(function, "__func__", None)
        function = inner or type(function).__call__
    return {}


def start_thread(core, seat, member):
    """A worker thread, visible to ``threading`` and to debuggers."""
    import threading

    from . import _core

    threading.Thread(target=_core._thread_main, args=(core, seat, member), name=f"ergon-{member}", daemon=True).start()
