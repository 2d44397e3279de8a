"""pathos.profile, as its documentation uses it."""


def test_worker_functions(program, tmp_path):
    program("""
        import os, pathos.profile as pr, pstats
        from pathos.pools import ProcessPool
        def work(i):
            return sum(range(i))
        profiled = pr.profiled(gen=pr.process_id)(work)
        assert pr.profiler is None
        pr.enable_profiling()
        assert list(map(profiled, range(5))) == list(map(work, range(5)))
        assert pr.profiler is not None and pr.get_stats()
        pr.disable_profiling()
        assert pr.profiler is None and os.path.exists(f"id-{os.getpid()}.prof")
        pool = ProcessPool(1)
        pool.pipe(pr.enable_profiling, None)
        assert pool.map(profiled, range(5)) == list(map(work, range(5)))
        pid = pool.pipe(pr.process_id)
        assert pid != os.getpid() and pstats.Stats(f"id-{pid}.prof").total_calls
        pool.pipe(pr.disable_profiling, None)
        os.remove(f"id-{pid}.prof")
        assert pool.map(pr.not_profiled(profiled), range(5)) == pool.map(profiled, range(5))
        assert not os.path.exists(f"id-{pid}.prof")
    """)


def test_one_call_is_printed(program):
    out = program("""
        import pathos.profile as pr
        from pathos.pools import ProcessPool, SerialPool
        def count(n):
            return len([i for i in range(n)])
        pool = ProcessPool(1)
        assert pr.profile("cumulative", pipe=pool.pipe)(count, 10) == 10
        pool.close(); pool.join()
        assert pr.profile()(count, 10) == 10
        assert pr.profile(pipe=SerialPool().pipe)(count, 10) == 10
        try:
            pr.profile(pipe=ProcessPool(2).pipe)
        except ValueError:
            pass
        else:
            raise SystemExit("accepted")
    """)
    assert out.count("function calls") == 3 and "(count)" in out and "Ordered by: cumulative" in out
