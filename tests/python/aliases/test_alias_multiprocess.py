"""multiprocess's pools and ppft's server."""


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


def test_the_rest_is_the_standard_librarys(program):
    program("""
        import multiprocess, multiprocessing
        assert multiprocess.Process is multiprocessing.Process and multiprocess.cpu_count() == multiprocessing.cpu_count()
        if __name__ == "__main__":  # children of CPython 3.14 import it
            queue = multiprocess.Queue()
            child = multiprocess.Process(target=queue.put, args=(5,))
            child.start()
            assert queue.get(timeout=60) == 5
            child.join()
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
