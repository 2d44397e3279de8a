"""What every kind of pool can do on top of map, imap, uimap, amap, pipe, apipe, submit."""

__all__ = ["Methods", "check_opening", "seconds"]


def check_opening(initializer, max_tasks, require, lineage=None):
    """TypeError or ValueError for what no pool can be opened with."""
    if require not in ("first", "all"):
        raise ValueError(f"require is 'first' or 'all', not {require!r}")
    if initializer is not None and not callable(initializer):
        raise TypeError("initializer must be callable")
    if max_tasks is not None and (isinstance(max_tasks, bool) or not hasattr(max_tasks, "__index__")):
        raise TypeError(f"max_tasks= is a number of calls, or 0 for any, not {max_tasks!r}")
    if max_tasks is not None and not 0 <= max_tasks < 2**31:
        raise ValueError("max_tasks= is a number of calls, at most 2147483647, or 0 for any")
    if lineage is not None and (
        isinstance(lineage, bool) or not isinstance(lineage, int) or not 0 <= lineage < 1 << 63
    ):
        raise ValueError(f"lineage= is a number of bytes, at least 0, or None, not {lineage!r}")


def seconds(name, value, never=None):
    """The option as a number of seconds; ``never``: what stands for numbers below 0, where those are allowed."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        kind = ValueError if isinstance(error, OverflowError) else TypeError
        raise kind(f"{name}= is a number of seconds, not {value!r:.80}") from None
    if number < 0 and never is not None:
        return never
    if not number >= 0:
        raise ValueError(f"{name}= is a number of seconds, at least 0, not {value!r}")
    return min(number, 1e9)


class Methods:
    """Base of the pools' classes."""

    def map_reduce(self, f, reduce, /, *iterables, **options):
        """Reduce ``f``'s results with the two-argument function ``reduce``, in order of the items.

        Results are combined pairwise in the workers, so ``reduce`` must be associative. TypeError without items.
        """
        level = list(self.map(f, *iterables, **options))
        if not level:
            raise TypeError("map_reduce() of no items: there is nothing to reduce")
        options.pop("progress", None)
        while len(level) > 1:
            pairs = self.map(reduce, level[0:-1:2], level[1::2], **options)
            level = pairs + level[-1:] if len(level) % 2 else pairs
        return level[0]

    def executor(self):
        """A ``concurrent.futures.Executor`` that runs its calls in this pool."""
        from .executor import Executor  # concurrent.futures takes longer to import than a pool to start

        return Executor(self)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if kind is None:
            self.close()
        else:
            self.terminate()
        self._join_all()

    def _join_all(self):
        self.join()
