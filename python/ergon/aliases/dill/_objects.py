"""An example of each type: of those that dill's rules can pickle (`succeeds`), cannot (`failures`), and of those that
have a name in streams (`registered`, which are among the first).

The names are those of `dill.types`.
"""

import _pyio
import argparse
import array
import bz2
import calendar
import codecs
import collections
import contextlib
import csv
import ctypes
import dataclasses
import datetime
import decimal
import fractions
import functools
import gzip
import hashlib
import hmac
import io
import itertools
import logging
import logging.handlers
import numbers
import operator
import optparse
import os
import pprint
import queue
import re
import shelve
import socket
import sqlite3
import struct
import symtable
import sys
import tarfile
import tempfile
import threading
import types
import weakref
import zlib

from ._dill import _testcapsule

__all__ = ["failures", "registered", "succeeds"]


class _class:
    def _method(self):
        pass


class _class2:
    def __call__(self):
        pass


class _newclass:
    def _method(self):
        pass


class _newclass2:
    __slots__ = ["descriptor"]


class _Struct(ctypes.Structure):
    _fields_ = [("_field", ctypes.c_int)]


def _function(x):
    yield x


def _function2():
    try:
        raise RuntimeError("an example")
    except RuntimeError as error:
        return error.__traceback__


_instance = _class()
_mapping = {}
_ordered = collections.OrderedDict()
_alive, _alive2 = _class(), _class2()
_exception = RuntimeError("No active exception to reraise")
_socket = socket.socket()
_socket.close()
_code = compile("3", "", "eval")
_cell = (lambda x: lambda: x)(0).__closure__[0]
with tempfile.TemporaryFile("w") as _tempfile:
    pass
_null = io.FileIO(os.devnull)
_null.close()
_parser = optparse.OptionParser()


@contextlib.contextmanager
def _manager():
    yield


def _c_types():
    names = "char wchar byte ubyte short ushort int uint long ulong longlong ulonglong float double size_t ssize_t bool"
    titles = "Char WChar Byte UByte Short UShort Int UInt Long ULong LongLong ULongLong Float Double SizeT SSizeT Bool"
    for name, title in zip(names.split(), titles.split()):
        yield f"C{title}Type", getattr(ctypes, "c_" + name)()
    yield "CLongDoubleType", ctypes.c_longdouble()


def _iterators():
    yield "ListIteratorType", iter([])
    yield "SetIteratorType", iter(set())
    yield "TupleIteratorType", iter(())
    yield "XRangeIteratorType", iter(range(0))
    yield "BytesIteratorType", iter(b"")
    yield "BytearrayIteratorType", iter(bytearray())
    yield "ListReverseiteratorType", reversed([])
    yield "OdictIteratorType", iter(_ordered)
    yield "DictionaryItemIteratorType", iter({}.items())
    yield "DictionaryKeyIteratorType", iter({})
    yield "DictionaryValueIteratorType", iter({}.values())
    yield "DictReversekeyiteratorType", reversed({})
    yield "DictReversevalueiteratorType", reversed({}.values())
    yield "DictReverseitemiteratorType", reversed({}.items())
    yield "CallableIteratorType", iter(iter, None)
    yield "CountType", itertools.count()
    yield "RepeatType", itertools.repeat(0)
    for name, made in (
        ("Chain", itertools.chain([0])),
        ("Product", itertools.product([0], repeat=2)),
        ("Cycle", itertools.cycle([0])),
        ("Permutations", itertools.permutations([0])),
        ("Combinations", itertools.combinations([0], 1)),
        ("Compress", itertools.compress([0], [1])),
    ):
        if sys.version_info < (3, 14):  # from then on they cannot be pickled
            yield f"{name}Type", made
    yield "IzipType", zip([0], [1])


def _loggers():
    yield "LoggerType", logging.getLogger()
    yield "NamedLoggerType", logging.getLogger(__name__)
    yield "LoggerAdapterType", logging.LoggerAdapter(logging.getLogger(), {})
    yield "FormatterType", logging.Formatter()
    yield "FilterType", logging.Filter()
    yield "LogRecordType", logging.makeLogRecord({})
    yield "NullHandlerType", logging.NullHandler()
    yield "StreamHandlerType", logging.StreamHandler()
    yield "SocketHandlerType", logging.handlers.SocketHandler("localhost", 514)
    yield "MemoryHandlerType", logging.handlers.MemoryHandler(1)


succeeds = {
    "BooleanType": True,
    "BuiltinFunctionType": len,
    "BuiltinMethodType": len,
    "BytesType": b"\x00",
    "ByteArrayType": bytearray(b"\x01"),
    "ClassType": _class,
    "ComplexType": 1 + 0j,
    "DictType": {},
    "DictionaryType": {},
    "EllipsisType": Ellipsis,
    "FloatType": 1.0,
    "FunctionType": _function,
    "InstanceType": _instance,
    "IntType": 1,
    "LongType": 1,
    "ListType": [],
    "NoneType": None,
    "NotImplementedType": NotImplemented,
    "ObjectType": object(),
    "StringType": "1",
    "UnicodeType": "1",
    "TupleType": (),
    "TypeType": type,
    "ClassObjectType": _newclass,
    "ClassInstanceType": _newclass(),
    "SetType": set(),
    "FrozenSetType": frozenset(),
    "ExceptionType": _exception,
    "SREPatternType": re.compile(""),
    "ArrayType": array.array("f"),
    "DequeType": collections.deque([0]),
    "DefaultDictType": collections.defaultdict(_function),
    "OrderedDictType": _ordered,
    "CounterType": collections.Counter({}),
    "TZInfoType": datetime.tzinfo(),
    "DateTimeType": datetime.datetime.today(),
    "CalendarType": calendar.Calendar(),
    "DecimalType": decimal.Decimal(1),
    "FractionType": fractions.Fraction(),
    "NumberType": numbers.Number(),
    "TarInfoType": tarfile.TarInfo(),
    "OptionParserType": _parser,
    "OptionGroupType": optparse.OptionGroup(_parser, "pickle"),
    "OptionType": optparse.Option("--foo"),
    "CLibraryLoaderType": ctypes.cdll,
    "StructureType": _Struct,
    "IOBaseType": io.IOBase(),
    "RawIOBaseType": io.RawIOBase(),
    "TextIOBaseType": io.TextIOBase(),
    "BufferedIOBaseType": io.BufferedIOBase(),
    "UnicodeIOType": io.StringIO(),
    "InputType": io.BytesIO(b""),
    "OutputType": io.BytesIO(),
    "ArgParseFileType": argparse.FileType() if hasattr(argparse, "FileType") else None,
    "RawTextHelpFormatterType": argparse.RawTextHelpFormatter("PROG"),
    "RawDescriptionHelpFormatterType": argparse.RawDescriptionHelpFormatter("PROG"),
    "ArgDefaultsHelpFormatterType": argparse.ArgumentDefaultsHelpFormatter("PROG"),
    "CodeType": _code,
    "DictProxyType": type.__dict__,
    "DictProxyType2": _class.__dict__,
    "GetSetDescriptorType": array.array.typecode,
    "LambdaType": (lambda x: lambda y: x)(0),
    "MemberDescriptorType": _newclass2.descriptor,
    "MemberDescriptorType2": datetime.timedelta.days,
    "MethodType": _class()._method,
    "UnboundMethodType": _class._method,
    "ModuleType": datetime,
    "SliceType": slice(1),
    "CellType": _cell,
    "XRangeType": range(1),
    "MethodDescriptorType": type.__dict__["mro"],
    "WrapperDescriptorType": type.__repr__,
    "ClassMethodDescriptorType": type.__dict__["__prepare__"],
    "MethodWrapperType": (1).__lt__,
    "StaticMethodType": staticmethod(_class()._method),
    "ClassMethodType": classmethod(_class()._method),
    "PropertyType": property(),
    "WeakKeyDictionaryType": weakref.WeakKeyDictionary(),
    "WeakValueDictionaryType": weakref.WeakValueDictionary(),
    "WeakSetType": weakref.WeakSet(),
    "ReferenceType": weakref.ref(_alive),
    "DeadReferenceType": weakref.ref(_class()),
    "ProxyType": weakref.proxy(_alive),
    "DeadProxyType": weakref.proxy(_class()),
    "CallableProxyType": weakref.proxy(_alive2),
    "DeadCallableProxyType": weakref.proxy(_class2()),
    "QueueType": queue.Queue(),
    "ShelveType": shelve.Shelf({}),
    "LockType": threading.Lock(),
    "RLockType": threading.RLock(),
    "GeneratorContextManagerType": _manager,
    "PrettyPrinterType": pprint.PrettyPrinter(),
    "TemporaryFileType": _tempfile,
    "MethodCallerType": operator.methodcaller("mro"),
    "DataclassesHasDefaultFactoryType": dataclasses._HAS_DEFAULT_FACTORY,
    "DataclassesMissingType": dataclasses.MISSING,
    "DataclassesKWOnlyType": dataclasses.KW_ONLY,
    "DataclassesFieldBaseType": dataclasses._FIELD,
    **dict(_c_types()),
    **dict(_iterators()),
    **dict(_loggers()),
}

registered = {
    "TextWrapperType": io.TextIOWrapper,
    "BufferedRandomType": io.BufferedRandom,
    "BufferedReaderType": io.BufferedReader,
    "BufferedWriterType": io.BufferedWriter,
    "PyTextWrapperType": _pyio.TextIOWrapper,
    "PyBufferedRandomType": _pyio.BufferedRandom,
    "PyBufferedReaderType": _pyio.BufferedReader,
    "PyBufferedWriterType": _pyio.BufferedWriter,
    "FileType": _null,
    "SuperType": super(Exception, _exception),
    "PartialType": functools.partial(int, base=2),
    "ItemGetterType": operator.itemgetter(0),
    "AttrGetterType": operator.attrgetter("__repr__"),
    "DictKeysType": {}.keys(),
    "DictValuesType": {}.values(),
    "DictItemsType": {}.items(),
    "OdictKeysType": _ordered.keys(),
    "OdictValuesType": _ordered.values(),
    "OdictItemsType": _ordered.items(),
    "GenericAliasIteratorType": iter(list[int]),
}
if hasattr(__import__("builtins"), "exit"):
    registered["ExitType"] = exit
    succeeds["QuitterType"] = exit
    succeeds["CopyrightType"] = copyright  # noqa: F821 (the site module's)
if _testcapsule is not None:
    registered["PyCapsuleType"] = _testcapsule
succeeds.update(registered)

_cfunction = ctypes.CFUNCTYPE(ctypes.c_int)
_lpchar = ctypes.POINTER(ctypes.c_char)

failures = {
    "BufferType": memoryview(b"0"),
    "MemoryType": memoryview(b"0"),
    "MemoryType2": memoryview(bytearray(b"0")),
    "MemoryIteratorType": iter(memoryview(b"")),
    "DialectType": csv.get_dialect("excel"),
    "CSVReaderType": csv.reader(io.StringIO()),
    "CSVWriterType": csv.writer(io.StringIO()),
    "CSVDictReaderType": csv.DictReader(io.StringIO()),
    "CSVDictWriterType": csv.DictWriter(io.StringIO(), {}),
    "SocketType": _socket,
    "SymtableEntryType": symtable.symtable("", "string", "exec")._table,
    "LineIteratorType": _code.co_lines(),
    "PositionsIteratorType": _code.co_positions(),
    "GzipFileType": gzip.GzipFile(fileobj=io.BytesIO(), mode="w"),
    "BZ2CompressorType": bz2.BZ2Compressor(),
    "ConnectionType": sqlite3.connect(":memory:"),
    "GeneratorType": _function(1),
    "FrameType": sys._getframe(),
    "TracebackType": _function2(),
    "StructType": struct.Struct("c"),
    "SREMatchType": re.compile("").match(""),
    "SREScannerType": re.compile("").scanner(""),
    "StreamReader": codecs.StreamReader(io.BytesIO()),
    "ZlibCompressType": zlib.compressobj(),
    "ZlibDecompressType": zlib.decompressobj(),
    "HashType": hashlib.md5(),
    "HMACType": hmac.new(b"", digestmod="md5"),
    "CCharPType": ctypes.c_char_p(),
    "CWCharPType": ctypes.c_wchar_p(),
    "CVoidPType": ctypes.c_void_p(),
    "CDLLType": ctypes.CDLL(None),
    "PyDLLType": ctypes.pythonapi,
    "FuncPtrType": ctypes.CDLL(None)._FuncPtr(),
    "CCharArrayType": ctypes.create_string_buffer(1),
    "CWCharArrayType": ctypes.create_unicode_buffer(1),
    "CParamType": ctypes.byref(ctypes.c_int()),
    "LPCCharType": _lpchar(),
    "LPCCharObjType": _lpchar,
    "NullPtrType": _lpchar(),
    "NullPyObjectType": ctypes.py_object(),
    "PyObjectType": ctypes.py_object(lambda: None),
    "FieldType": _Struct._field,
    "CFUNCTYPEType": _cfunction,
    "CFunctionType": _cfunction(str),
    "CmpKeyType": functools.cmp_to_key(_class._method),
    "CmpKeyObjType": functools.cmp_to_key(_class._method)(0),
}
