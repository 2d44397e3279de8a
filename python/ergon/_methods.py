"""What every kind of pool can do on top of map, imap, uimap, amap, pipe, apipe, submit."""

__all__ = ["Methods", "check_opening"]


def check_opening(initializer, max_tasks, require):
    """TypeError or ValueError for what no pool can be opened with."""
    if require not in ("first", "all"):
        raise ValueError(f"require is 'first' or 'all', not {require!r}")
    if initializer is not None and not callable(initializer):
        raise TypeError("initializer must be callable")
    if max_tasks is not None and max_tasks < 0:
        raise ValueError("max_tasks is a number of tasks, or 0 for any")


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
