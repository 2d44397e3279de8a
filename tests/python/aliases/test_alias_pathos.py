"""pathos's behaviour where its own tests do not look."""

import pytest

KINDS = ["ProcessPool", "ThreadPool", "ParallelPool"]


@pytest.mark.parametrize("kind", KINDS)
def test_calls(program, kind):
    program(f"""
        from pathos.pools import {kind}
        pool = {kind}(2)
        assert pool.map(pow, [1, 2, 3], [2, 2, 2, 2]) == [1, 4, 9]
        assert list(pool.imap(pow, [1, 2, 3], [2, 2, 2])) == [1, 4, 9]
        assert sorted(pool.uimap(pow, [1, 2, 3], [2, 2, 2])) == [1, 4, 9]
        assert pool.amap(pow, [1, 2, 3], [2, 2, 2]).get() == [1, 4, 9]
        assert pool.pipe(pow, 2, 5) == 32
        assert pool.pipe(int, "ff", base=16) == 255
        result = pool.apipe(int, "ff", base=16)
        assert result.get(60) == 255 and result.ready() and result.successful()
        result.wait(1)
        failed = pool.apipe(int, "x")
        failed.wait()
        assert failed.ready() and not failed.successful()
        try:
            failed.get()
        except ValueError:
            pass
        else:
            raise AssertionError
        for method in (pool.map, pool.imap, pool.uimap, pool.amap):
            try:
                method(abs)
            except TypeError:
                pass
            else:
                raise AssertionError
    """)


def test_serial(program):
    program("""
        from pathos.pools import SerialPool
        pool = SerialPool()
        assert type(pool.map(abs, [-1])) is map and list(pool.map(abs, [-1])) == [1]
        assert list(pool.imap(pow, [2, 3], [2, 2])) == [4, 9] and pool.pipe(abs, -1) == 1
        assert pool.nodes == 1 and not hasattr(pool, "amap2") and repr(pool) == "<pool SerialPool()>"
        pool.close()
        try:
            pool.map(abs, [1])
        except ValueError as error:
            assert "not running" in str(error)
        pool.restart()
        assert pool.pipe(abs, -1) == 1
        for wrong in (pool.restart, pool.join):
            try:
                wrong()
            except AssertionError:
                pass
            else:
                raise SystemExit("accepted on an open pool")
        pool.restart(force=True)
    """)


def test_get_with_timeout(program):
    program("""
        import time
        from pathos.pools import ProcessPool, ThreadPool, ParallelPool
        from multiprocess import TimeoutError
        for kind in (ProcessPool, ThreadPool, ParallelPool):
            pool = kind(1)
            result = pool.apipe(time.sleep, 0.5)
            for too_soon in (lambda: result.get(0.01), lambda: pool.amap(time.sleep, [0.5]).get(timeout=0.01)):
                try:
                    too_soon()
                except TimeoutError:
                    pass
                else:
                    raise AssertionError
            assert result.get(60) is None
    """)


def test_shared_by_id(program):
    program("""
        import os, time
        from pathos.pools import ProcessPool
        a, b = ProcessPool(2), ProcessPool(2)
        assert list(ProcessPool.__state__) == [2] and a._serve() is b._serve()
        def pids(pool):
            found = set()
            while len(found) < 2:
                found |= set(pool.map(lambda i: (time.sleep(0.01), os.getpid())[1], range(30), chunksize=1))
            return found
        assert pids(a) == pids(b)
        other = ProcessPool(2, id="other")
        assert len(ProcessPool.__state__) == 2 and not pids(other) & pids(a)
        a.close()
        for pool in (a, b, ProcessPool(2)):
            try:
                pool.map(abs, [1])
            except ValueError as error:
                assert str(error) == "Pool not running"
            else:
                raise AssertionError
        assert other.map(abs, [-1]) == [1]
        b.restart()
        assert a.map(abs, [-1]) == b.map(abs, [-1]) == [1]
        a.clear()
        assert list(ProcessPool.__state__) == ["other"]
        assert a.map(abs, [-1]) == [1]
    """)


def test_with_leaves_the_pool_open(program):
    program("""
        from pathos.pools import ProcessPool, ThreadPool, ParallelPool, SerialPool
        for kind in (ProcessPool, ThreadPool, ParallelPool, SerialPool):
            with kind() as pool:
                pass
            assert list(pool.map(abs, [-1])) == [1]
    """)


def test_join_while_open(program):
    program("""
        from pathos.pools import ProcessPool, ThreadPool, ParallelPool
        for kind, error in ((ProcessPool, ValueError), (ThreadPool, ValueError), (ParallelPool, AssertionError)):
            pool = kind(1)
            try:
                pool.join()
            except error:
                pass
            else:
                raise SystemExit(f"{kind} joined while open")
    """)


def test_sizes(program):
    program("""
        import os
        from pathos.pools import ProcessPool, ThreadPool, ParallelPool
        cores = os.cpu_count()
        assert ProcessPool().nodes == ProcessPool().ncpus == ThreadPool().nthreads == cores
        for keywords in ({"nodes": 1}, {"ncpus": 1}, {"processes": 1}):
            assert ProcessPool(**keywords).nodes == 1
        for keywords in ({"nodes": 1}, {"nthreads": 1}, {"processes": 1}):
            assert ThreadPool(**keywords).nodes == 1
        assert ParallelPool().ncpus == "*" and ParallelPool(1).nodes == 1 and ParallelPool("*").nodes == "*"
        assert ParallelPool().servers is None and ParallelPool(servers="*").servers == "*"
        for kind, wrong in ((ProcessPool, {"ncpus": 1}), (ThreadPool, {"nthreads": 1}), (ParallelPool, {"ncpus": 1})):
            for more in ((), ("nodes",)):
                try:
                    kind(*(() if more else (2,)), **wrong, **{name: 2 for name in more})
                except TypeError as error:
                    assert "multiple values" in str(error)
                else:
                    raise AssertionError((kind, wrong, more))
        pool = ProcessPool(2)
        pool.ncpus = 1
        assert pool.nodes == 1 and pool.map(abs, [-1]) == [1]
        assert repr(pool) == "<pool ProcessPool(ncpus=1)>" and repr(ThreadPool(2)) == "<pool ThreadPool(nthreads=2)>"
        assert repr(ParallelPool(2)) == "<pool ParallelPool(ncpus=2, servers=None)>"
    """)


@pytest.mark.parametrize("kind", ["ProcessPool", "ThreadPool", "ParallelPool"])
def test_results_are_there_after_close_and_join(program, kind):
    """More items than any look-ahead, from a generator."""
    program(f"""
        from pathos.pools import {kind}
        pool = {kind}(2)
        ordered = pool.imap(lambda b: len(b), (bytes(1 << 20) for _ in range(150)))
        some = pool.uimap(abs, range(-3000, 0))
        later = pool.amap(abs, range(-10, 0))
        pool.close()
        pool.join()
        assert list(ordered) == [1 << 20] * 150
        assert sorted(some) == list(range(1, 3001))
        assert later.get() == list(range(10, 0, -1))
    """)


def test_chunksize_zero_is_automatic(program):
    program("""
        from pathos.pools import ProcessPool, ThreadPool
        for kind in (ProcessPool, ThreadPool):
            assert kind(2).map(abs, [-1, -2], chunksize=0) == [1, 2]
            for wrong in (lambda: kind(2).imap(abs, [1], chunksize=0), lambda: kind(2).map(abs, [1], chunksize=-1)):
                try:
                    wrong()
                except ValueError:
                    pass
                else:
                    raise AssertionError
    """)


def test_what_hangs_in_the_original(program):
    program("""
        import os, itertools, sys
        from pathos.pools import ProcessPool, ThreadPool, ParallelPool
        pool = ProcessPool(2)
        for death in (lambda *_: os.kill(os.getpid(), 9), lambda *_: os._exit(1), lambda *_: sys.exit(1)):
            for call in (lambda: pool.pipe(death), lambda: pool.map(death, [1, 2])):
                try:
                    call()
                except BaseException as error:
                    assert not isinstance(error, AssertionError)
                else:
                    raise AssertionError
            assert pool.map(abs, [-1]) == [1]
        assert list(itertools.islice(pool.imap(abs, itertools.count()), 10)) == list(range(10))
        inner = lambda n: sum(ProcessPool(1).map(abs, range(n)))
        assert pool.map(inner, [3, 4]) == [3, 6]
        threads = ThreadPool(1)
        assert threads.map(lambda n: sum(ThreadPool(1).map(abs, range(n))), [3]) == [3]
        pool = ParallelPool(1)
        try:
            pool.pipe(int, "x")
        except ValueError:
            pass
        else:
            raise AssertionError
        assert pool.map(lambda x: x + 1, [1]) == [2]
    """)


def test_shutdown(program):
    program("""
        from pathos.helpers import shutdown
        from pathos import pools
        for kind in (pools.ProcessPool, pools.ThreadPool, pools.ParallelPool):
            pool = kind(1)
            pool.map(abs, [1])
            assert kind.__state__
        late = pool.apipe(pow, 2, 2)
        shutdown(pools.ProcessPool)
        assert not pools.ProcessPool.__state__ and pools.ThreadPool.__state__
        shutdown()
        assert not pools.ThreadPool.__state__ and not pools.ParallelPool.__state__
        assert late.get(60) == 4
        for wrong, error in ((pools._ProcessPool, NotImplementedError), (int, TypeError)):
            try:
                shutdown(wrong)
            except error:
                pass
            else:
                raise AssertionError
    """)


def test_initializer(program):
    program("""
        import builtins
        from pathos.pools import ProcessPool
        def setup(n):
            import builtins
            builtins.made = n
        pool = ProcessPool(2, initializer=setup, initargs=(5,))
        assert pool.map(lambda _: __import__("builtins").made, range(4)) == [5] * 4
    """)


def test_maps(program):
    program("""
        from pathos.maps import Map, Smap, Imap, Ismap, Amap, Asmap, Uimap
        from pathos.pools import ProcessPool, _ProcessPool, _ThreadPool
        pairs = [(1, 2), (3, 4)]
        assert Map()(abs, [-1]) == [1] and Smap()(pow, pairs) == [1, 81]
        assert list(Imap()(abs, [-1])) == [1] and list(Ismap()(pow, pairs)) == [1, 81]
        assert Amap()(abs, [1]) is Asmap()(abs, [1]) is Uimap()(abs, [1]) is NotImplemented
        for kind in (ProcessPool, _ProcessPool, _ThreadPool):
            assert Map(kind)(abs, [-1]) == [1] and Smap(kind, 1)(pow, pairs) == [1, 81]
            assert list(Imap(kind)(abs, [-1])) == [1] and list(Ismap(kind)(pow, pairs)) == [1, 81]
            assert Amap(kind)(abs, [-1]).get() == [1] and Asmap(kind)(pow, pairs).get() == [1, 81]
            assert list(Uimap(kind)(abs, [-1])) == [1]
            assert Map(kind, close=True, join=True)(abs, [-1]) == [1]
        one = Map(ProcessPool, 1, close=True)
        assert one(abs, [-1]) == [1]
        try:
            one(abs, [-1])
        except ValueError:
            pass
        else:
            raise AssertionError
        one.join(); one.clear()
        again = Map(ProcessPool, 1, clear=True)
        assert again(abs, [-1]) == again(abs, [-1]) == [1] and not ProcessPool.__state__
    """)


def test_old_map_functions(program):
    program("""
        from pathos.mp_map import mp_map
        from pathos.pp_map import pp_map, ppmap, stats
        assert mp_map(abs, [-1, -2]) == [1, 2]
        assert mp_map(pow, [2, 3], [2, 2], nproc=1, threads=True, nodes=7, queue="x") == [4, 9]
        assert list(mp_map(abs, [-1], type="non-blocking")) == list(mp_map(abs, [-1], type="unordered")) == [1]
        assert pp_map(pow, [2, 3], [2, 2], ncpus=1) == [4, 9]
        assert list(ppmap(1, pow, [2, 3], [2, 2])) == [4, 9] and list(ppmap(None, abs, [-1])) == [1]
        assert "job count" in stats()
    """)


def test_helpers(program):
    program("""
        import pickle, random
        from pathos.helpers import cpu_count, freeze_support, mp, mp_helper, parallelpython, pp_helper
        freeze_support()
        assert cpu_count() >= 1 and mp.Pool and parallelpython.Server
        assert mp_helper.starargs(pow)((2, 3)) == 8
        mp_helper.random_seed(5)
        first = random.random()
        mp_helper.random_seed(5)
        assert random.random() == first
        assert mp_helper.random_state() is random
        assert mp_helper.random_state(seed=5).random() == first
        new = mp_helper.random_state(new=True, seed=5)
        assert new is not random and new.random() == first
        mp_helper.random_state(seed="*")
        numpy = mp_helper.random_state("numpy", seed=3)
        assert 0 <= numpy.rand() < 1
    """)


def test_util(program):
    out = program("""
        import os
        from pathos.util import print_exc_info, spawn, spawn2
        def child(pid, toparent):
            toparent.write(b"%d" % pid)
            toparent.close()
            os._exit(0)
        def parent(pid, fromchild):
            assert int(fromchild.read()) == pid
            os.waitpid(pid, 0)
            return pid
        assert spawn(parent, child) > 0
        def child2(pid, fromparent, toparent):
            toparent.write(fromparent.readline().upper())
            os._exit(0)
        def parent2(pid, fromchild, tochild):
            tochild.write(b"hello\\n")
            os.waitpid(pid, 0)
            return fromchild.read()
        assert spawn2(parent2, child2) == b"HELLO\\n"
        try:
            1 / 0
        except ZeroDivisionError:
            print(print_exc_info())
    """)
    assert "ZeroDivisionError" in out


def test_third_party_pools_may_derive(program):
    program("""
        from pathos.abstract_launcher import AbstractWorkerPool, AbstractPipeConnection
        class Mine(AbstractWorkerPool):
            def __init__(self, *args, **kwds):
                AbstractWorkerPool.__init__(self, *args, **kwds)
            def map(self, f, *args, **kwds):
                AbstractWorkerPool._AbstractWorkerPool__map(self, f, *args, **kwds)
                return list(map(f, *args))
            __get_nodes = AbstractWorkerPool._AbstractWorkerPool__get_nodes
            __set_nodes = AbstractWorkerPool._AbstractWorkerPool__set_nodes
            nodes = property(__get_nodes, __set_nodes)
        with Mine(id="me") as pool:
            assert pool.map(abs, [-1]) == [1] and pool.nodes == 1 and pool._id == "me"
        for call in (lambda: pool.map(abs), lambda: Mine(1, nodes=2), lambda: setattr(pool, "nodes", 3)):
            try:
                call()
            except TypeError:
                pass
            else:
                raise AssertionError
        for name in "imap uimap amap pipe apipe".split():
            try:
                getattr(pool, name)(abs, [1])
            except NotImplementedError:
                pass
        assert repr(AbstractPipeConnection()) == "<pipe AbstractPipeConnection>"
    """)


def test_names_that_programs_use(program):
    program("""
        import pathos
        assert pathos.secure.Pipe is pathos.SSH_Launcher and pathos.secure.Tunnel is pathos.SSH_Tunnel
        from pathos.multiprocessing import Pool, ProcessingPool, _ProcessPool, cpu_count, freeze_support
        assert Pool is _ProcessPool is pathos.helpers.mp.pool.Pool
        with Pool(2) as pool:
            assert pool.map(lambda x: x + 1, [1]) == [2]
    """)
