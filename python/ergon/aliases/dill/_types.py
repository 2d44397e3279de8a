"""The names that streams give to types which cannot be imported under their own."""

import _pyio
import _thread
import builtins
import collections
import contextvars
import functools
import io
import operator
import types
import weakref
from types import (  # noqa: F401
    BuiltinMethodType,
    CellType,
    ClassMethodDescriptorType,
    CodeType,
    EllipsisType,
    FrameType,
    FunctionType,
    GeneratorType,
    GenericAlias,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    NotImplementedType,
    TracebackType,
    WrapperDescriptorType,
)

ClassType = TypeType = type
DictProxyType = types.MappingProxyType
PartialType = functools.partial
SuperType = super
ItemGetterType = operator.itemgetter
AttrGetterType = operator.attrgetter
SliceType = slice
XRangeType = range
BufferType = memoryview
LockType = _thread.LockType
RLockType = type(_thread.RLock())
LRUCacheType = functools._lru_cache_wrapper
ReferenceType = weakref.ReferenceType
ProxyType = weakref.ProxyType
CallableProxyType = weakref.CallableProxyType
ContextType = contextvars.Context
ExceptHookArgsType = _thread._ExceptHookArgs
ExitType = type(builtins.exit) if hasattr(builtins, "exit") else None
ThreadHandleType = getattr(_thread, "_ThreadHandle", None)
FileType = io.FileIO
TextWrapperType = io.TextIOWrapper
BufferedRandomType = io.BufferedRandom
BufferedReaderType = io.BufferedReader
BufferedWriterType = io.BufferedWriter
PyTextWrapperType = _pyio.TextIOWrapper
PyBufferedRandomType = _pyio.BufferedRandom
PyBufferedReaderType = _pyio.BufferedReader
PyBufferedWriterType = _pyio.BufferedWriter
InputType = OutputType = None

try:
    import ctypes
    import datetime

    PyCapsuleType = type(datetime.datetime_CAPI)
    HAS_CTYPES = True
except (ImportError, AttributeError):
    ctypes = None
    PyCapsuleType = None
    HAS_CTYPES = False


def _public_types():
    for namespace in (builtins, types):
        for name, value in vars(namespace).items():
            if type(value) is type and getattr(value, "__module__", None) == "builtins":
                yield name, value


def _other_types():
    """Types of this interpreter that neither `builtins` nor `types` has a name for."""
    yield "PartialType", PartialType
    yield "SuperType", SuperType
    yield "ItemGetterType", ItemGetterType
    yield "AttrGetterType", AttrGetterType
    kinds = ("File", "BufferedRandom", "BufferedReader", "BufferedWriter", "TextWrapper")
    for kind in (*kinds, "PyBufferedRandom", "PyBufferedReader", "PyBufferedWriter", "PyTextWrapper"):
        yield f"{kind}Type", globals()[f"{kind}Type"]
    for prefix, mapping in (("Dict", {}), ("Odict", collections.OrderedDict())):
        for part in ("keys", "values", "items"):
            yield f"{prefix}{part.title()}Type", type(getattr(mapping, part)())
    if ExitType:
        yield "ExitType", ExitType
    if not isinstance(iter(list[int]), GeneratorType):
        yield "GenericAliasIteratorType", type(iter(list[int]))
    if PyCapsuleType:
        yield "PyCapsuleType", PyCapsuleType


_incedental_reverse_typemap = {
    name: kind
    for name, kind in _other_types()
    if name not in ("PartialType", "SuperType", "ItemGetterType", "AttrGetterType")
}
_reverse_typemap = {**dict(_public_types()), **dict(_other_types())}
_typemap = {kind: name for name, kind in _reverse_typemap.items()}
_incedental_types = set(_incedental_reverse_typemap.values())
