"""All pools in one place."""


def _clear(type=None):
    """Forget all shared workers, or those of one kind of pool; they finish what they have and end."""
    kinds = (ProcessPool, ThreadPool, ParallelPool, SerialPool)
    if type in (_ProcessPool, _ThreadPool):
        raise NotImplementedError("use the close() method to shutdown")
    if type is not None and type not in kinds:
        raise TypeError(f"'{type}' is not one of the pathos.pools")
    for kind in kinds if type is None else (type,):
        state = kind.__state__
        while state:
            state.popitem()[1].close()


from .helpers import ProcessPool as _ProcessPool  # noqa: E402
from .helpers import ThreadPool as _ThreadPool  # noqa: E402
from .multiprocessing import ProcessPool  # noqa: E402
from .parallel import ParallelPool  # noqa: E402
from .serial import SerialPool  # noqa: E402
from .threading import ThreadPool  # noqa: E402
