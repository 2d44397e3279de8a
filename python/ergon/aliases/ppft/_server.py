"""The job server and its tasks."""

import logging
import os
import threading
import time
import types
import warnings

from multiprocess.pool import Pool

from ergon.errors import TaskCancelled

from ._job import Timed, run_job


class DestroyedServerError(RuntimeError):
    """The server was closed or destroyed."""


class _Task:
    """A job; calling it waits for its result, prints what the job printed, and returns the result."""

    def __init__(self, server, tid, callback=None, callbackargs=(), group="default"):
        self.server = server
        self.tid = tid
        self.callback = callback
        self.callbackargs = callbackargs
        self.group = group
        self._future = None
        self._lock = threading.Lock()
        self._told = False

    @property
    def finished(self):
        """Whether the result has arrived."""
        return self._future.done()

    def wait(self):
        """Wait for the result."""
        self._future.wait()

    def __call__(self):
        """The result; None if the job failed, its traceback is printed then."""
        try:
            _, result, output = self._future.result()
        except TaskCancelled:
            raise DestroyedServerError("the server was destroyed before the job was done") from None
        with self._lock:
            told, self._told = self._told, True
        if output and not told:
            print(output, end=" ")
        return result

    def _on_done(self, future):
        self.server._finished(self, future)
        if self.callback is not None and future.successful():
            self.callback(*self.callbackargs, self())


class _Statistics:
    """What a node did."""

    def __init__(self, ncpus, rworker=None):
        self.ncpus = ncpus
        self.time = 0.0
        self.njobs = 0
        self.rworker = rworker


class Template:
    """A function with everything `Server.submit` wants to know about it; `submit` takes its arguments."""

    def __init__(
        self, job_server, func, depfuncs=(), modules=(), callback=None, callbackargs=(), group="default", globals=None
    ):
        self.job_server = job_server
        self.func = func
        self.options = (depfuncs, modules, callback, callbackargs, group, globals)

    def submit(self, *args):
        """Submit one job."""
        return self.job_server.submit(self.func, args, *self.options)


class Server:
    """Runs jobs on worker processes of this machine.

    ncpus     - how many, "autodetect" for every processor
    ppservers - servers on other machines: their workers are not used in this version, a warning says so
    secret    - for these servers
    """

    default_port = 60000

    def __init__(self, ncpus="autodetect", ppservers=(), secret=None, restart=False, proto=2, socket_timeout=3600):
        if not isinstance(ppservers, tuple):
            raise TypeError("ppservers argument must be a tuple")
        if secret is not None and not isinstance(secret, str):
            raise TypeError("secret must be of a string type")
        named = [server for server in ppservers if not server.startswith("*")]
        if named:
            warnings.warn(
                f"jobs run on this machine only, not on {', '.join(named)}: "
                "servers on other machines are not available in this version",
                RuntimeWarning,
                stacklevel=2,
            )
        self.logger = logging.getLogger("pp")
        self.ppservers = [self._address(server) for server in named]
        self.auto_ppservers = [server for server in ppservers if server.startswith("*")]
        self.socket_timeout = socket_timeout
        self._exiting = False
        self._pool = None
        self._waiting = set()
        self._lock = threading.Lock()
        self._tid = 0
        self._local = _Statistics(0)
        self._created = time.time()
        self.set_ncpus(ncpus)

    def _address(self, server):
        host, _, port = server.partition(":")
        return host, int(port) if port else self.default_port

    # Jobs

    def submit(
        self, func, args=(), depfuncs=(), modules=(), callback=None, callbackargs=(), group="default", globals=None
    ):
        """Call `func(*args)` in a worker; a task.

        Functions take along what they refer to. Beyond that, `modules` (names) and `depfuncs` become globals of
        `func`, as do the modules and functions in `globals`. `callback(*callbackargs, result)` is called
        when the job is done. `group` is a name for `wait`.
        """
        for name, value in (
            ("args", args),
            ("depfuncs", depfuncs),
            ("modules", modules),
            ("callbackargs", callbackargs),
        ):
            if not isinstance(value, tuple):
                raise TypeError(f"{name} argument must be a tuple")
        if not all(isinstance(module, str) for module in modules):
            raise TypeError("modules argument must be a tuple of strings")
        if globals is not None:
            if not isinstance(globals, dict):
                raise TypeError("globals argument must be a dictionary")
            modules, depfuncs = _from_globals(globals, modules, depfuncs)
        pool = self._running()
        with self._lock:
            task = _Task(self, self._tid, callback, callbackargs, group)
            self._tid += 1
            self._waiting.add(task)
        task._future = pool.apply_async(run_job, (func, args, depfuncs, modules))._future
        task._future.add_done_callback(task._on_done)
        return task

    def wait(self, group=None):
        """Wait for the jobs of a group, or for all."""
        with self._lock:
            tasks = [task for task in self._waiting if not group or task.group == group]
        for task in tasks:
            task.wait()

    def _finished(self, task, future):
        with self._lock:
            self._waiting.discard(task)
        if future.successful():
            self._count(future.result()[0])

    # Calls for pathos, which raise what the function raises

    def _call(self, method, func, args, kwds):
        """Call a method of the pool with `func`; what the results say about their time is taken off."""
        pool, timed = self._running(), Timed(func)
        if method == "pipe":
            return self._untimed(pool.apply(timed, args, kwds))
        if method == "map":
            return list(map(self._untimed, pool._map(timed, args)))
        if method in ("imap", "uimap"):
            return map(self._untimed, getattr(pool, "_" + method)(timed, args))
        if method == "apipe":
            return _Untimed(pool.apply_async(timed, args, kwds)._future, self._untimed)
        future = pool._amap(timed, args)._future
        return _Untimed(future, lambda items: list(map(self._untimed, items)))

    def _untimed(self, timed):
        self._count(timed[0])
        return timed[1]

    # Workers

    def get_ncpus(self):
        """How many workers this machine gives."""
        return self._local.ncpus

    def set_ncpus(self, ncpus="autodetect"):
        """Change how many workers this machine gives."""
        if ncpus == "autodetect":
            ncpus = os.cpu_count() or 1
        if not isinstance(ncpus, int):
            raise TypeError("ncpus must have 'int' type")
        if ncpus < 0:
            raise ValueError("ncpus must not be negative")
        old, self._pool = self._pool, None
        if old is not None:
            old.close()  # finishes what it has
        self._local.ncpus = ncpus
        if not self._exiting:
            self._open()

    def _open(self):
        if self._local.ncpus:
            self._pool = Pool(self._local.ncpus)

    def _running(self):
        if self._exiting:
            raise DestroyedServerError("the server takes no more jobs")
        if self._pool is None:
            raise ValueError("the server has no workers: ncpus is 0 and no other machine is in use")
        return self._pool

    # Statistics

    def _count(self, seconds):
        with self._lock:
            self._local.njobs += 1
            self._local.time += seconds

    def get_active_nodes(self):
        """The nodes and how many workers each has."""
        return {"local": self._local.ncpus}

    def get_stats(self):
        """The nodes and what each did."""
        return {"local": self._local}

    def print_stats(self):
        """Print what was done."""
        local = self._local
        print("Job execution statistics:")
        print(" job count | % of all jobs | job time sum | time per job | job server")
        if local.njobs:
            print(
                f"    {local.njobs:6} |        {100.0:6.2f} |     {local.time:8.4f} |"
                f"  {local.time / local.njobs:11.6f} | local"
            )
        print(f"Time elapsed since server creation {time.time() - self._created}")
        print(f"{len(self._waiting)} active tasks, {local.ncpus} cores\n")

    # Life

    def close(self):
        """Take no more jobs; those that were submitted are finished."""
        self._exiting = True

    def _join(self):
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()
            pool.join()

    def _reopen(self):
        self._exiting = False
        if self._pool is None:
            self._open()

    def destroy(self):
        """End the workers at once."""
        self._exiting = True
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()


class _Untimed:
    """A future whose result still carries times, seen as one without."""

    def __init__(self, future, strip):
        self._future = future
        self._strip = strip
        self._lock = threading.Lock()
        self._kept = ()

    def __getattr__(self, name):
        return getattr(self._future, name)

    def result(self, timeout=None):
        """The result without times."""
        value = self._future.result(timeout)
        with self._lock:
            if not self._kept:
                self._kept = (self._strip(value),)
        return self._kept[0]


def _from_globals(globals, modules, depfuncs):
    """The modules and functions among `globals`, added to those named."""
    found = [value for name, value in globals.items() if not name.startswith("__")]
    modules += tuple(value.__name__ for value in found if isinstance(value, types.ModuleType))
    depfuncs += tuple(value for value in found if isinstance(value, types.FunctionType))
    return tuple(dict.fromkeys(modules)), depfuncs
