"""What tasks do with the standard library in a worker, as they would in a child of the program."""

PICKLE = """
    import dataclasses
    import enum
    import multiprocessing
    import pickle
    import sys
    import tempfile
    from concurrent.futures import ProcessPoolExecutor

    import ergon

    @dataclasses.dataclass
    class Record:
        a: int

    class Outer:
        class Inner:
            value = 1

        def method(self):
            return 5

    class Color(enum.Enum):
        RED = 1

    def square(x):
        return x * x

    FORK = multiprocessing.get_context("fork")

    def in_executor(i):
        with ProcessPoolExecutor(1, mp_context=FORK) as executor:
            return list(executor.map(square, [i]))

    def in_pool(i):
        with FORK.Pool(1) as pool:
            return pool.map(square, [i])

    def write(path):
        with open(path, "wb") as file:
            pickle.dump([Record(3), square, Outer.Inner(), Outer, Color.RED, Outer().method], file)

    def read(path):
        with open(path, "rb") as file:
            record, function, inner, outer, color, method = pickle.load(file)
        return record == Record(3), function(4), inner.value, outer is Outer, color is Color.RED, method()

    def write_and_read(path):
        write(path)
        return read(path)

    def missing():
        main = sys.modules["__main__"]
        try:
            main.nothing
        except AttributeError as error:
            return str(error), hasattr(main, "gone")

    GOOD = True, 16, 1, True, True, 5
"""


def test_plain_pickle_in_a_task(script):
    script(
        PICKLE
        + """
    with ergon.ProcessPool(2) as pool, tempfile.TemporaryDirectory() as folder:
        assert pool.pipe(write_and_read, folder + "/file") == GOOD
        assert read(folder + "/file") == GOOD
        paths = [f"{folder}/{i}" for i in range(20)]
        assert pool.map(write_and_read, paths, chunksize=1) == [GOOD] * 20
        assert pool.map(read, paths, chunksize=1) == [GOOD] * 20
        # An inner class without its outer one, and what nobody has brought along.
        assert pool.pipe(lambda inner: pickle.loads(pickle.dumps(inner)).value, Outer.Inner()) == 1
        assert pool.pipe(missing) == ("module '__main__' has no attribute 'nothing'", False)
        # What comes back is the program's own.
        assert pool.pipe(lambda: (Record, square(1), Color.RED)) == (Record, 1, Color.RED)
    """
    )


def test_children_of_a_task_find_the_main_program(script):
    script(
        PICKLE
        + """
    with ergon.ProcessPool(1) as pool:
        assert pool.pipe(in_executor, 3) == [9]
        assert pool.pipe(in_pool, 4) == [16]
    """
    )


def test_a_function_that_is_sent_anew_is_pickled(script):
    script(
        PICKLE
        + """
    table = {}

    def entry(key):
        return table.get(key)

    def pickled(key):
        return pickle.loads(pickle.dumps(entry)) is entry

    with ergon.ProcessPool(1) as pool:
        for i in range(5):
            table[i] = i
            assert pool.pipe(pickled, i)
    """
    )
