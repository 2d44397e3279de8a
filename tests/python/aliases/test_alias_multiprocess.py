"""multiprocess's pools and ppft's server."""

import pytest


def test_pool(program):
    program("""
        import multiprocess
        from multiprocess import Pool, TimeoutError
        from multiprocess.pool import ThreadPool
        import multiprocess.dummy
        import time
        for kind in (Pool, ThreadPool, multiprocess.dummy.Pool):
            with kind(2) as pool:
                assert pool.apply(pow, (2, 3)) == 8 and pool.apply(int, ("ff",), {"base": 16}) == 255
                assert pool.map(lambda x: x * 2, range(3)) == [0, 2, 4]
                assert pool.starmap(pow, [(2, 3), (3, 2)]) == [8, 9]
                assert list(pool.imap(abs, [-1, -2], chunksize=2)) == [1, 2]
                assert sorted(pool.imap_unordered(abs, [-1, -2])) == [1, 2]
                seen = []
                pool.apply_async(abs, (-1,), callback=seen.append).get(60)
                pool.map_async(abs, [-1, -2], callback=seen.append).get(60)
                pool.starmap_async(pow, [(2, 3)], callback=seen.append).get(60)
                pool.apply_async(int, ("x",), error_callback=lambda e: seen.append(type(e))).wait(60)
                deadline = time.monotonic() + 60
                while len(seen) < 4 and time.monotonic() < deadline:
                    time.sleep(0.01)
                assert sorted(map(str, seen)) == sorted(map(str, [1, [1, 2], [8], ValueError])), seen
                waiting = pool.apply_async(time.sleep, (0.5,))
                try:
                    waiting.successful()
                except ValueError:
                    pass
                else:
                    raise AssertionError
            try:
                pool.map(abs, [1])
            except ValueError as error:
                assert str(error) == "Pool not running"
            else:
                raise AssertionError
    """)


def test_imap_next_with_timeout(program):
    program("""
        import time
        from multiprocess import Pool, TimeoutError
        def slow(x):
            time.sleep(x)
            return x
        with Pool(1) as pool:
            results = pool.imap(slow, [0, 0.5, 0, 0])
            assert results.next() == 0
            late = 0
            while True:
                try:
                    assert results.next(timeout=0.02) == 0.5
                    break
                except TimeoutError:
                    late += 1
            assert late
            assert results.next(60) == 0 and next(results) == 0
            for call in (results.next, lambda: results.next(1), lambda: next(results)):
                try:
                    call()
                except StopIteration:
                    pass
                else:
                    raise AssertionError
    """)


def test_imap_goes_on_after_an_error(program):
    program("""
        from multiprocess import Pool
        with Pool(2) as pool:
            results = pool.imap(lambda x: 6 // x, [1, 0, 3])
            assert next(results) == 6
            try:
                next(results)
            except ZeroDivisionError:
                pass
            else:
                raise AssertionError
            assert next(results) == 2 and list(results) == []
            results = pool.imap(lambda x: 6 // x, [1, 0, 3])
            pool.close()
            pool.join()
            assert next(results) == 6
    """)


def test_wrong_arguments(program):
    program("""
        from multiprocess import Pool
        import pickle
        for wrong, error in ((lambda: Pool(0), ValueError), (lambda: Pool(1, initializer=3), TypeError),
                             (lambda: Pool(1, maxtasksperchild=0), ValueError),
                             (lambda: pickle.dumps(Pool(1)), NotImplementedError), (lambda: Pool(1).join(), ValueError)):
            try:
                wrong()
            except error:
                pass
            else:
                raise SystemExit("accepted")
    """)


METHODS = ("fork", "spawn", "forkserver")


@pytest.mark.parametrize("method", METHODS)
def test_children_take_and_give_what_dill_can(program, method):
    out = program(f"""
        import multiprocess
        def child(function, lock, value, array, event, barrier, queue, joinable, simple, end):
            with lock:
                value.value += function(1)
            array[0] = 5
            queue.put(lambda: "queue")
            joinable.put(lambda: "joinable")
            simple.put(lambda: "simple")
            end.send(lambda: "pipe")
            barrier.wait(60)
            event.set()
        if __name__ == "__main__":
            context = multiprocess.get_context("{method}")
            queue, joinable, simple = context.Queue(), context.JoinableQueue(), context.SimpleQueue()
            ours, theirs = context.Pipe()
            lock, event, barrier = context.Lock(), context.Event(), context.Barrier(2)
            value, array = context.Value("i", 1), context.Array("d", 2)
            args = (lambda x: x + 1, lock, value, array, event, barrier, queue, joinable, simple, theirs)
            child = context.Process(target=child, args=args)
            child.start()
            print(queue.get(timeout=60)(), joinable.get(timeout=60)(), simple.get()(), ours.recv()())
            joinable.task_done()
            joinable.join()
            barrier.wait(60)
            assert event.wait(60)
            child.join()
            print(value.value, array[:], child.exitcode)
            with context.Manager() as manager:
                shared, space, far = manager.dict(), manager.Namespace(), manager.Queue()
                shared["f"], space.f = lambda x: x + 1, lambda x: x + 2
                far.put(lambda x: x + 3)
                print(shared["f"](0), space.f(0), far.get()(0))
    """)
    assert out.split("\n")[:3] == ["queue joinable simple pipe", "3 [5.0, 0.0] 0", "1 2 3"]


@pytest.mark.parametrize("method", METHODS)
def test_pools_share_locks_queues_and_memory(program, method):
    """As initargs, as arguments, and as globals of the function."""
    out = program(f"""
        import multiprocess
        def start(*shared):
            global lock, total
            lock, total = shared
        def add(x):
            with lock:
                total.value += x
        def use(x):
            with semaphore, rlock:
                raw[x] = array[x] = x
                flat.value += 1
            with condition:
                condition.notify()
            queue.put(x)
            end.send(x)
            return event.is_set()
        lock = None
        if __name__ == "__main__":
            context = multiprocess.get_context("{method}")
            mine, total = context.Lock(), context.Value("i", 0)
            with context.Pool(2, initializer=start, initargs=(mine, total)) as pool:
                pool.map(add, range(10), chunksize=1)
            assert lock is None
            semaphore, rlock, condition, event = context.Semaphore(1), context.RLock(), context.Condition(), context.Event()
            raw, array, flat = multiprocess.RawArray("i", 5), context.Array("d", 5), context.Value("i", 0, lock=False)
            queue, (here, end) = context.Queue(), context.Pipe()
            event.set()
            with context.Pool(2) as pool:
                assert pool.map(use, range(5), chunksize=1) == [True] * 5
                pool.starmap(lambda q, x: q.put(x), [(queue, 10), (queue, 20)])
            print(total.value, list(raw), array[:], flat.value)
            print(sorted(queue.get(timeout=60) for _ in range(7)), sorted(here.recv() for _ in range(5)))
            queue.put("still works")  # no worker went away with a lock of the queue's
            print(queue.get(timeout=60))
    """)
    assert out.split("\n")[:3] == [
        "45 [0, 1, 2, 3, 4] [0.0, 1.0, 2.0, 3.0, 4.0] 5",
        "[0, 1, 2, 3, 4, 10, 20] [0, 1, 2, 3, 4]",
        "still works",
    ]


def test_workers_know_who_they_are_and_reach_managers(program):
    out = program("""
        import time
        import multiprocess
        def who(_):
            time.sleep(0.05)
            me, parent = multiprocess.current_process(), multiprocess.parent_process()
            return me.name, me._identity, parent.name, parent.pid, parent.is_alive()
        if __name__ == "__main__":
            import os
            multiprocess.set_start_method("fork")
            with multiprocess.Manager() as manager, multiprocess.Pool(2) as pool:
                found = sorted(set(pool.map(who, range(8), chunksize=1)))
                assert found == [(f"ForkPoolWorker-{n}", (n,), "MainProcess", os.getpid(), True) for n in (1, 2)], found
                shared, lock = manager.dict(), manager.Lock()
                def add(x):
                    with lock:
                        shared["sum"] = shared.get("sum", 0) + x
                pool.map(add, range(10))
                print(shared.copy())
    """)
    assert out == "{'sum': 45}\n"


def test_children_are_replaced_after_so_many_tasks(program):
    program("""
        import os
        from multiprocess import Pool
        with Pool(1, maxtasksperchild=2) as pool:
            pids = pool.map(lambda _: os.getpid(), range(6), chunksize=1)
            assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4] == pids[5], pids
            assert len(set(pool.map(lambda _: os.getpid(), range(100)))) <= 3  # four chunks
            assert len(pool._pool) == 1 and pool._pool[0].pid and all(worker.is_alive() for worker in pool._pool)
    """)


def test_named_shared_memory_outlives_workers(program):
    out = program("""
        import multiprocess
        from multiprocess.shared_memory import SharedMemory
        def write(name, i):
            memory = SharedMemory(name=name)
            memory.buf[i] = i
            memory.close()
        if __name__ == "__main__":
            memory = SharedMemory(create=True, size=8)
            for _ in range(2):
                with multiprocess.Pool(2) as pool:
                    pool.starmap(write, [(memory.name, i) for i in range(8)])
                    pool.close()
                    pool.join()
            print(list(memory.buf[:8]))
            memory.close()
            memory.unlink()
    """)
    assert out == "[0, 1, 2, 3, 4, 5, 6, 7]\n"


def test_what_has_gone_is_said(program):
    out = program("""
        import dill, os, multiprocess
        queue = multiprocess.get_context("fork").SimpleQueue()
        stream = dill.dumps(queue)
        queue.close()
        try:
            dill.loads(stream)
        except OSError as error:
            print("keep it" in str(error) and str(os.getpid()) in str(error))
    """)
    assert out == "True\n"


def test_what_cannot_be_pickled_does_not_stop_a_queue(program):
    program("""
        import multiprocess, sys
        sys.stderr = open("/dev/null", "w")  # the traceback
        queue = multiprocess.get_context("fork").Queue()
        queue.put(i for i in "generator")
        queue.put(1)
        assert queue.get(timeout=60) == 1
    """)


def test_every_module_is_there(program):
    program("""
        import importlib, multiprocessing, pkgutil, multiprocess
        for module in pkgutil.walk_packages(multiprocessing.__path__, "multiprocessing."):
            if "win32" not in module.name:
                mine = importlib.import_module(module.name.replace("multiprocessing", "multiprocess"))
                assert "/ergon/aliases/" in mine.__file__
        assert set(multiprocessing.__all__) <= set(multiprocess.__all__)
        assert multiprocess.Process is not multiprocessing.Process and multiprocess.Process.__module__ == "multiprocess.context"
        assert multiprocess.cpu_count() == multiprocessing.cpu_count()
        from multiprocess.pool import ApplyResult, AsyncResult, MapResult, MaybeEncodingError, RemoteTraceback
        assert AsyncResult is ApplyResult and issubclass(MapResult, ApplyResult)
        from multiprocess.connection import Client, Listener
        import threading
        with Listener(authkey=b"k") as listener:
            def call():
                with Client(listener.address, authkey=b"k") as client:
                    client.send(lambda: 5)
            thread = threading.Thread(target=call)
            thread.start()
            with listener.accept() as end:
                assert end.recv()() == 5
            thread.join()
    """)


def test_ppft_server(program):
    out = program("""
        import ppft, math
        def area(r):
            return math.pi * r * r
        def shout(x):
            print("from the job", x)
            return x
        def needs_help(x):
            return helper(x) + fractions.Fraction(1, 2)
        def help_with(x):
            return 2 * x
        help_with.__name__ = "helper"
        server = ppft.Server(2)
        assert server.get_ncpus() == 2 and server.get_active_nodes() == {"local": 2}
        tasks = [server.submit(area, (r,), (), ("math",)) for r in range(10)]
        assert [task() for task in tasks] == [area(r) for r in range(10)]
        assert all(task.finished for task in tasks)
        assert float(server.submit(needs_help, (3,), (help_with,), ("fractions",))()) == 6.5
        seen = []
        task = server.submit(pow, (2, 3), callback=lambda tag, value: seen.append((tag, value)), callbackargs=("t",), group="g")
        server.wait("g")
        server.wait()
        assert task() == 8
        import time
        while not seen:
            time.sleep(0.01)
        assert seen == [("t", 8)]
        task = server.submit(shout, (1,))
        task.wait()
        assert task() == task() == 1
        assert server.submit(int, ("x",))() is None
        assert ppft.Template(server, pow).submit(2, 4)() == 16
        stats = server.get_stats()["local"]
        assert stats.njobs >= 10 and stats.ncpus == 2
        server.print_stats()
        server.set_ncpus(1)
        assert server.submit(pow, (2, 5))() == 32
        server.set_ncpus(0)
        try:
            server.submit(pow, (2, 5))
        except ValueError:
            pass
        else:
            raise SystemExit("accepted")
        server.destroy()
        try:
            server.submit(pow, (2, 5))
        except ppft.DestroyedServerError:
            pass
        else:
            raise SystemExit("accepted")
    """)
    assert out.count("from the job 1") == 1
    assert "ValueError" in out and "job count" in out


def test_ppft_names_servers_it_does_not_use(program):
    done = program("import ppft; s = ppft.Server(1, ('somewhere:1234',)); print(s.submit(abs, (-1,))())", check=False)
    assert done.returncode == 0 and done.stdout == "1\n"
    assert "somewhere:1234" in done.stderr
