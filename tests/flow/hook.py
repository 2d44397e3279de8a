"""Called before and after the timed runs of each program: setup(pkg, n) is required, teardown(pkg) optional."""


def setup(pkg, n_workers):
    pkg.configure(workers=[{"type": "multicore", "cores": n_workers}])


def teardown(pkg):
    pkg.shutdown()
