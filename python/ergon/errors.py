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
    "SshError",
    "RemoteError",
    "RemoteTraceback",
    "TaskInterrupted",
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


class SshError(ErgonError):
    """A host could not be reached, or a command, copy or tunnel there failed; the text has ssh's own words."""


class RemoteTraceback(Exception):
    """The cause of an exception that a task raised: its text is the traceback in the worker."""

    def __init__(self, text):
        super().__init__(text)
        self.text = text

    def __str__(self):
        return f'\n"""\n{self.text}"""'


class RemoteError(ErgonError):
    """Stands for an exception of a task that could not travel: the text says which it was and why it could not."""

    def __init__(self, text, reason=None):
        last = text.strip().rsplit("\n", 1)[-1]
        if reason is None:
            super().__init__(last)
        else:
            super().__init__(f"{last} (the exception could not be rebuilt here: {type(reason).__name__}: {reason})")

    def __reduce__(self):
        return _remote_error, (self.args,)


def _remote_error(args):
    error = RemoteError.__new__(RemoteError)
    error.args = args
    return error


def unpicklable(exception, text, reason):
    """The RemoteError for an exception that cannot be pickled."""
    name = type(exception).__name__
    error = RemoteError(text)
    error.args = (f"{name}: {exception} (the exception could not be pickled: {reason})",)
    return error


class TaskInterrupted(BaseException):
    """Raised inside a task that is cancelled or has run longer than its timeout, so that it can clean up."""
