"""The exceptions of ergon. Everything ergon itself raises derives from ErgonError; what a task raises comes
back as itself."""

try:  # the same classes as pickle's, without the time importing pickle takes
    from _pickle import PicklingError as _PicklingError
    from _pickle import UnpicklingError as _UnpicklingError
except ImportError:
    from pickle import PicklingError as _PicklingError
    from pickle import UnpicklingError as _UnpicklingError

__all__ = [
    "ErgonError",
    "WorkerLost",
    "TaskTimeout",
    "TaskCancelled",
    "PoolClosed",
    "PicklingError",
    "UnpicklingError",
    "ConfigError",
    "LaunchError",
]


class ErgonError(Exception):
    """The base of every error ergon itself raises."""


class WorkerLost(ErgonError):
    """The worker that ran the task died; the text names the signal or exit status. The pool has replaced the worker."""


class TaskTimeout(ErgonError, TimeoutError):
    """A task ran longer than its ``timeout``, or a result was not there when the wait for it ended."""


class TaskCancelled(ErgonError):
    """The task was cancelled before it had a result."""


class PoolClosed(ErgonError):
    """The pool was closed or terminated and takes no more tasks."""


class PicklingError(ErgonError, _PicklingError):
    """An object cannot be pickled; the text names the path to it and the reason."""


class UnpicklingError(ErgonError, _UnpicklingError):
    """Bytes are not a pickle, or name something that is not allowed or not there."""


class ConfigError(ErgonError, ValueError):
    """A configuration file, resource string or option is wrong; the text says where and what to write instead."""


class LaunchError(ErgonError):
    """No resource of a pool came up; the text names each as the user wrote it and why it did not."""
