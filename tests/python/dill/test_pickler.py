"""The pickler of the alias: what programs that derive from it, or look into it, rely on."""

import os
import subprocess
import sys
import textwrap

from ergon.aliases import folder


def test_subclass_that_overrides_save(program):
    program("""
        import dill, io
        seen = []

        class Mine(dill.Pickler):
            def save(self, obj, save_persistent_id=True):
                seen.append(type(obj))
                dill.Pickler.save(self, obj, save_persistent_id=save_persistent_id)

        file = io.BytesIO()
        Mine(file, recurse=True).dump({"a": lambda x: x + 1})
        assert dill.loads(file.getvalue())["a"](1) == 2
        assert dict in seen and str in seen and type(lambda: 0) in seen
    """)


def test_subclass_with_a_dispatch_table_of_its_own(program):
    # As Hugging Face's datasets does: a hash of functions that does not depend on what they are called in memory.
    program("""
        import dill, io
        from types import CodeType, FunctionType

        class Mine(dill.Pickler):
            dispatch = dill._dill.MetaCatchingDict(dill.Pickler.dispatch.copy())

            def memoize(self, obj):
                if type(obj) is not str:  # equal strings may or may not be one object
                    dill.Pickler.memoize(self, obj)

            def _batch_setitems(self, items, *args):
                super()._batch_setitems(sorted(items), *args)

        def register(kind):
            def enter(function):
                Mine.dispatch[kind] = function
                return function
            return enter

        @register(CodeType)
        def save_code(pickler, obj):
            dill._dill.logger.trace(pickler, "Co: %s", obj)
            fields = [getattr(obj, "co_" + name) for name in dill._dill.CODE_PARAMS]
            fields[dill._dill.CODE_PARAMS.index("filename")] = ""
            pickler.save_reduce(dill._dill._create_code, (b"", *fields), obj=obj)
            dill._dill.logger.trace(pickler, "# Co")

        @register(set)
        def save_set(pickler, obj):
            pickler.save_reduce(set, (sorted(obj),), obj=obj)

        def dumps(obj):
            file = io.BytesIO()
            Mine(file, recurse=True).dump(obj)
            return file.getvalue()

        one = eval(compile("lambda x: x in {'a', 'b'}", "one.py", "eval"))
        two = eval(compile("lambda x: x in {'a', 'b'}", "two.py", "eval"))
        assert dumps(one) == dumps(two)
        assert dumps({"a": 1, "b": {3, 1}}) == dumps({"b": {1, 3}, "a": 1})
        assert dill.loads(dumps(one))("a")
        assert CodeType in dill.Pickler.dispatch and dill.Pickler.dispatch[CodeType] is not save_code

        class Meta(type): pass
        assert Mine.dispatch.get(Meta) is dill.Pickler.dispatch[type]
    """)


def test_register_and_pickle(program):
    program("""
        import dill

        class Handle:
            def __init__(self, n): self.n = n
            def __reduce__(self): raise TypeError("no")

        @dill.register(Handle)
        def save(pickler, obj):
            pickler.save_reduce(Handle, (obj.n + 1,), obj=obj)

        assert dill.copy(Handle(1)).n == 2
        assert [one.n for one in dill.copy([Handle(1), Handle(2)])] == [2, 3]
        dill.pickle(Handle, lambda pickler, obj: pickler.save_reduce(int, (obj.n,), obj=obj))
        assert dill.copy(Handle(5)) == 5
    """)


def test_names_others_import(program):
    program("""
        from dill import _dill
        names = '''Pickler Unpickler save_function save_type save_module_dict _locate_function _is_builtin_module
            _reverse_typemap _typemap MetaCatchingDict _create_function _create_code _create_cell _create_type
            _import_module _load_type _save_with_postproc is_dill StockPickler StockUnpickler log logger _setitems
            _create_namedtuple _create_weakref _create_weakproxy _create_filehandle _create_lock _create_rlock
            _create_array _create_dtypemeta _create_capsule _create_typing_tuple _create_ftype _create_stringi
            _create_stringo _getattr _get_attr _eval_repr _unmarshal _CELL_EMPTY ClassType FunctionType'''
        missing = [name for name in names.split() if not hasattr(_dill, name)]
        assert not missing, missing
        assert all(getattr(_dill, n).__module__ == "dill._dill" for n in names.split() if n.startswith("_create_"))
    """)


def test_stock_picklers_know_the_types(program):
    program("""
        import dill, io, pickle

        def dumps(obj):
            file = io.BytesIO()
            pickle._Pickler(file).dump(obj)
            return file.getvalue()

        function = lambda x: x * 2
        assert pickle.loads(dumps(function))(2) == 4
        dill.extend(False)
        try:
            dumps(function)
        except (pickle.PicklingError, AttributeError):
            pass
        else:
            raise AssertionError("still extended")
        assert dumps({}) and type in pickle._Pickler.dispatch
        dill.extend()
        assert pickle.loads(dumps(function))(2) == 4
    """)


def test_many_threads_pickle_at_once(program):
    program("""
        import dill, threading
        base = 10
        def add(x): return x + base
        failed = []

        def work():
            for _ in range(100):
                stream = dill.dumps(add, recurse=True)
                if b"base" not in stream or dill.loads(stream)(1) != 11:
                    failed.append(1)

        threads = [threading.Thread(target=work) for _ in range(4)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert not failed
    """)


def test_modules_made_by_a_program_keep_what_is_in_them(program):
    program("""
        import dill, types
        made = types.ModuleType("made")
        exec("def f(): return g()\\ndef g(): return 3\\nvalue = [1]", vars(made))
        back = dill.copy(made)
        assert back is not made and back.f() == 3 and back.value == [1] and back.value is not made.value
        assert dill.copy(made.f)() == 3
    """)


def test_same_bytes_under_every_hash_seed(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
            import dill, hashlib
            names = {"one", "two", "three"}
            class Thing:
                def one(self): return helper(names)
                def two(self): return {"a", "b", "c", "d"} & names
            def helper(x): return x in {"p", "q", "r", "s"} and Thing
            things = [Thing, helper, Thing().two, names, frozenset(names)]
            for kwds in ({}, {"recurse": True}):
                print(hashlib.sha256(dill.dumps(things, **kwds)).hexdigest())
        """)
    )
    found = set()
    for seed in ("0", "1", "7", "42"):
        path = os.pathsep.join(filter(None, [folder(), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path}
        found.add(subprocess.check_output([sys.executable, str(program)], env=environment, timeout=60))
    assert len(found) == 1


def test_what_is_off_in_the_alias_is_on_in_ergon(program):
    program("""
        import dill, ergon
        view = memoryview(b"abc")
        assert not dill.pickles(view)
        assert bytes(ergon.copy(view)) == b"abc"

        def generate():
            yield 1
        assert not dill.pickles(generate())
        assert list(ergon.copy(generate())) == [1]
    """)


def test_plain_data_takes_the_pickler_in_c(program):
    program("""
        import dill, time, pickle

        class Point:
            def __init__(self, x): self.x = x

        data = [{"a": n, "b": str(n)} for n in range(20000)]
        def best(f):
            times = []
            for _ in range(5):
                begin = time.perf_counter(); f(); times.append(time.perf_counter() - begin)
            return min(times)
        slow = best(lambda: pickle._dumps(data, 4))
        assert best(lambda: dill.dumps(data)) < slow / 4
        # An instance of a class of the main module needs dill's ways.
        assert dill.loads(dill.dumps([Point(3)]))[0].x == 3
    """)


def test_what_dill_refuses_is_refused(program):
    # Programs, and dill's own tests, find out what travels by trying; ergon.pickle takes these.
    program("""
        import csv, dill, struct
        import ergon.pickle as ep

        class Holder: pass

        for thing in (struct.Struct("c"), csv.get_dialect("excel"), (n for n in [])):
            holder = Holder()
            holder.thing = [thing]
            for obj in (thing, [thing], holder):
                assert type(ep.copy(holder).thing[0]) is type(thing)
                try:
                    dill.dumps(obj)
                except TypeError:
                    continue
                raise AssertionError(f"{thing} was pickled")
    """)
