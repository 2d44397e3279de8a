"""The pools that take part, two workers each: context managers that give the library's own pool object."""

import contextlib

WORKERS = 2


def ergon():
    import ergon

    return ergon.ProcessPool(WORKERS)


def multiprocessing():
    import multiprocessing

    return multiprocessing.get_context("fork").Pool(WORKERS)


def ergon_threads():
    import ergon

    return ergon.ThreadPool(WORKERS)


def multiprocessing_threads():
    import multiprocessing.pool

    return multiprocessing.pool.ThreadPool(WORKERS)


def futures_threads():
    import concurrent.futures

    return concurrent.futures.ThreadPoolExecutor(WORKERS)


def multiprocess():
    import multiprocess

    return multiprocess.get_context("fork").Pool(WORKERS)


def futures():
    import concurrent.futures

    return concurrent.futures.ProcessPoolExecutor(WORKERS)


@contextlib.contextmanager
def pathos():
    import pathos.pools

    pool = pathos.pools.ProcessPool(WORKERS)
    try:
        yield pool
    finally:
        pool.close()
        pool.join()
        pool.clear()


@contextlib.contextmanager
def loky():
    import loky

    pool = loky.get_reusable_executor(max_workers=WORKERS)
    try:
        yield pool
    finally:
        pool.shutdown()


@contextlib.contextmanager
def dask():
    import dask
    import distributed

    dask.config.set({"distributed.worker.memory.terminate": False, "logging.distributed": "error"})
    with distributed.LocalCluster(
        n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        with distributed.Client(cluster) as client:
            yield client
