"""CPython's own tests of pickle, run on our functions and types.

What is left out, with the reason, stands in WHY_NOT; everything else must pass.
"""

import collections
import io
import pickle
import struct
import sys
import unittest

import ergon.pickle as ep
import pytest

suite = pytest.importorskip("test.pickletester", reason="this Python comes without its test suite")

WHY_NOT = {
    "test_list_chunking": "one batch however long: nothing is gained by 1000 at a time",
    "test_dict_chunking": "one batch however long",
    "test_set_chunking": "one batch however long",
    "test_framing_many_objects": "one frame however long",
    "test_framing_large_objects": "one frame however long",
    "test_framed_write_sizes_with_delayed_writer": "one write",
    "test_global_ext1": "looks for the opcodes of protocols 0 and 1, which are written as 2",
    "test_global_ext2": "protocols 0 and 1",
    "test_global_ext4": "protocols 0 and 1",
    "test_float_format": "protocols 0 and 1",
    "test_compat_pickle": "names of Python 2 are read, not written",
    "test_pickle_to_2x": "names of Python 2 are read, not written",
    "test_builtin_exceptions": "names of Python 2 are read, not written",
    "test_py_methods": "static and class methods can be pickled here",
    "test_c_methods": "the error is PicklingError with a path, where pickle's is TypeError",
    "test_local_lookup_error": "local functions travel by value",
    "test_bad_getattr": "no RecursionError: nesting is bounded by memory alone",
    "test_recursive_nested_names2": "a class whose only name leads through itself, before protocol 4",
    "test_unpickler_bad_file": "looks for the use of peek and readinto, which are not used",
}
PROTOCOLS = range(2, pickle.HIGHEST_PROTOCOL + 1)


class Base:
    py_version = sys.version_info
    bad_stack_errors = (pickle.UnpicklingError, IndexError)
    truncated_errors = (
        pickle.UnpicklingError,
        EOFError,
        AttributeError,
        ValueError,
        struct.error,
        IndexError,
        ImportError,
    )
    size_overflow_errors = (OverflowError, pickle.UnpicklingError)
    unpickler = ep.Unpickler
    pickler_class = ep.Pickler
    unpickler_class = ep.Unpickler

    def setUp(self):
        super().setUp()
        reason = WHY_NOT.get(self._testMethodName)
        if reason:
            self.skipTest(reason)
        self.before, suite.protocols = suite.protocols, PROTOCOLS

    def tearDown(self):
        if hasattr(self, "before"):
            suite.protocols = self.before
        super().tearDown()


class Functions(Base):
    def dumps(self, obj, protocol=None, fix_imports=True, **options):
        return ep.dumps(obj, protocol, **options)

    def loads(self, data, **options):
        return ep.loads(data, **options)


class Files(Base):
    def dumps(self, obj, protocol=None, **options):
        file = io.BytesIO()
        ep.Pickler(file, protocol, **options).dump(obj)
        return file.getvalue()

    def loads(self, data, **options):
        return ep.Unpickler(io.BytesIO(data), **options).load()


class TestDumps(Functions, suite.AbstractPickleTests, unittest.TestCase):
    pass


class TestPickler(Files, suite.AbstractPickleTests, unittest.TestCase):
    pass


class TestLoads(Functions, suite.AbstractUnpickleTests, unittest.TestCase):
    pass


class TestUnpickler(Files, suite.AbstractUnpickleTests, unittest.TestCase):
    pass


class TestPersistentIds(Base, suite.AbstractPersistentPicklerTests, unittest.TestCase):
    def dumps(self, obj, protocol=None):
        class Pickler(ep.Pickler):
            def persistent_id(_, obj):
                return self.persistent_id(obj)

        file = io.BytesIO()
        Pickler(file, protocol).dump(obj)
        return file.getvalue()

    def loads(self, data, **options):
        class Unpickler(ep.Unpickler):
            def persistent_load(_, pid):
                return self.persistent_load(pid)

        return Unpickler(io.BytesIO(data), **options).load()


class TestObjects(Base, suite.AbstractPicklerUnpicklerObjectTests, unittest.TestCase):
    pass


class TestDispatchTable(Base, suite.AbstractDispatchTableTests, unittest.TestCase):
    def get_dispatch_table(self):
        return collections.ChainMap({}, pickle.dispatch_table)


class Hooked(ep.Pickler, suite.AbstractCustomPicklerClass):
    pass


class TestHooks(Base, suite.AbstractHookTests, unittest.TestCase):
    pickler_class = Hooked


class TestModule(Base, suite.AbstractPickleModuleTests, unittest.TestCase):
    dump = staticmethod(ep.dump)
    dumps = staticmethod(ep.dumps)
    load = staticmethod(ep.load)
    loads = staticmethod(ep.loads)
    Pickler = ep.Pickler
    Unpickler = ep.Unpickler
