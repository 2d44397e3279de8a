"""How classes, and what is found in their namespaces, are saved."""

import abc
import dataclasses
import enum
import operator
import sys
import types
import typing
import warnings
from pickle import GLOBAL

from . import _create as make
from . import _types as kinds
from ._save import ATOMS, TABLE, Pending, _locate_function, harmless, later, option, save_global, saves, tracing

# --- descriptors ----------------------------------------------------------------------------------------------------------------


@saves(
    types.ClassMethodDescriptorType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    label="Wr",
)
def save_wrapper_descriptor(pickler, obj):
    pickler.save_reduce(make._getattr, (obj.__objclass__, obj.__name__, repr(obj)), obj=obj)


@saves(property, abc.abstractproperty, label="Pr")
def save_property(pickler, obj):
    pickler.save_reduce(type(obj), (obj.fget, obj.fset, obj.fdel, obj.__doc__), obj=obj)


@saves(classmethod, staticmethod, abc.abstractclassmethod, abc.abstractstaticmethod)
def save_classmethod(pickler, obj):
    with tracing(pickler, "Cm" if isinstance(obj, classmethod) else "Sm", obj):
        pickler.save_reduce(type(obj), (obj.__func__,), obj=obj)


@saves(super, label="Su")
def save_super(pickler, obj):
    pickler.save_reduce(super, (obj.__thisclass__, obj.__self__), obj=obj)


# --- classes -------------------------------------------------------------------------------------------------------------------


def _slot_names(cls):
    slots = vars(cls).get("__slots__", ())
    for name in (slots,) if isinstance(slots, str) else slots:
        if name.startswith("__") and not name.endswith("__") and cls.__name__.strip("_"):
            yield f"_{cls.__name__.lstrip('_')}{name}"
        else:
            yield name


def class_namespace(cls):
    """The namespace the class could have been made from."""
    namespace = {
        name: value
        for name, value in vars(cls).items()
        if not (isinstance(value, types.GetSetDescriptorType) and value.__objclass__ is cls)
    }
    namespace.pop("__slotnames__", None)  # what copyreg remembers of it
    for name in ("__abstractmethods__", "_abc_impl"):
        if isinstance(cls, abc.ABCMeta):
            namespace.pop(name, None)
    for name in _slot_names(cls):
        if isinstance(namespace.get(name), types.MemberDescriptorType):
            del namespace[name]
    namespace["__qualname__"] = cls.__qualname__
    return namespace


LEADS_NOWHERE = (*ATOMS, types.FunctionType, staticmethod, classmethod, property)


def _split(namespace, memo=()):
    """What cannot lead back to the class before it is there (or is in the stream already), and the rest."""
    safe = {
        name: value
        for name, value in namespace.items()
        if name == "__slots__" or isinstance(value, LEADS_NOWHERE) or harmless(value) or id(value) in memo
    }
    return safe, {name: value for name, value in namespace.items() if name not in safe}


def _enum_reduction(cls, namespace):
    hidden = {"_member_names_", "_member_map_", "_value2member_map_", "_member_type_", "_value_repr_", "_use_args_"}
    hidden |= {"_new_member_", "_unhashable_values_", "_unhashable_values_map_", "_hashable_values_", "__new__"}
    hidden |= {"_flag_mask_", "_singles_mask_", "_all_bits_", "_boundary_", "_inverted_", "_generate_next_value_"}
    hidden |= {"_use_args_", "_iter_member_", "_iter_member_by_value_", "_iter_member_by_def_", "_sort_order_"}
    members = [(name, member._value_) for name, member in cls.__members__.items()]
    names = dict(members)
    rest = {name: value for name, value in namespace.items() if name not in hidden and name not in names}
    for name in ("__new_member__", "__reduce_ex__", "__dict__", "__weakref__"):
        rest.pop(name, None)
    for name in ("__format__", "__repr__", "__str__", "__or__", "__and__", "__xor__", "__invert__"):
        for base in cls.__bases__:
            if rest.get(name) is getattr(base, name, None):
                rest.pop(name, None)
    if "__new_member__" in vars(cls):
        rest["__new__"] = vars(cls)["__new_member__"]
    return make._create_enum, (type(cls), cls.__name__, cls.__bases__, members, rest)


def _class_reduction(cls, namespace):
    if isinstance(cls, enum.EnumMeta):
        return _enum_reduction(cls, namespace)
    original = namespace.get("__orig_bases__")
    if original and original != cls.__bases__:
        namespace = {name: value for name, value in namespace.items() if name != "__orig_bases__"}
        fill = operator.methodcaller("update", namespace)
        return types.new_class, (cls.__name__, original, {"metaclass": type(cls)}, fill)
    return make._create_type, (type(cls), cls.__name__, cls.__bases__, namespace)


def _abc_registry(cls):
    if not isinstance(cls, abc.ABCMeta) or "_abc_impl" not in vars(cls):
        return []
    references = abc._get_dump(cls)[0]
    return sorted(filter(None, (ref() for ref in references)), key=lambda registered: registered.__qualname__)


def save_class(pickler, cls):
    """A class by value."""
    pending = Pending.of(pickler)
    entered = pending.building.get(id(cls), 0)
    namespace, rest = class_namespace(cls), {}
    if entered:
        pending.again.add(id(cls))
        namespace, _ = _split(namespace, pickler.memo)
    pending.building[id(cls)] = entered + 1
    mine = []
    pending.waiting.append(mine)
    try:
        pickler.save_reduce(*_class_reduction(cls, namespace), obj=cls)
    finally:
        pending.waiting.pop()
        pending.building[id(cls)] = entered
    pending.waiting.append(None)
    try:
        for function, args in mine:
            later(pickler, function, *args)
        if not entered:
            if id(cls) in pending.again:
                pending.again.discard(id(cls))
                _, rest = _split(namespace)
            for name, value in rest.items():
                later(pickler, setattr, cls, name, value)
            for registered in _abc_registry(cls):
                later(pickler, abc.ABCMeta.register, cls, registered)
    finally:
        pending.waiting.pop()


def _is_namedtuple(cls):
    fields = vars(cls).get("_fields")
    return cls.__bases__ == (tuple,) and type(fields) is tuple and "_make" in vars(cls) and "_asdict" in vars(cls)


_GENERATED = {"__doc__", "__slots__", "__new__", "__repr__", "__getnewargs__", "__match_args__", "__qualname__"}
_GENERATED |= {"_fields", "_field_defaults", "_make", "_replace", "_asdict", "__module__", "__replace__"}


def save_namedtuple(pickler, cls):
    fields = cls._fields
    defaults = tuple(cls._field_defaults[name] for name in fields if name in cls._field_defaults) or None
    pickler.save_reduce(make._create_namedtuple, (cls.__name__, fields, cls.__module__, defaults), obj=cls)
    rest = {name: value for name, value in vars(cls).items() if name not in _GENERATED and name not in fields}
    rest["__qualname__"] = cls.__qualname__
    if cls.__doc__ != f"{cls.__name__}({', '.join(fields)})":
        rest["__doc__"] = cls.__doc__
    for name, value in rest.items():
        later(pickler, setattr, cls, name, value)


def _has_name(obj):
    return type(obj) in (type, abc.ABCMeta) and obj in kinds._typemap


def save_type(pickler, obj, postproc_list=None):
    if _has_name(obj):
        with tracing(pickler, "T1", obj):
            if getattr(sys.modules.get(obj.__module__), obj.__name__, None) is obj:
                save_global(pickler, obj)
            else:
                pickler.save_reduce(make._load_type, (kinds._typemap[obj],), obj=obj)
    elif _locate_function(obj, pickler):
        with tracing(pickler, "T4", obj):
            save_global(pickler, obj)
    elif "numpy" in sys.modules and issubclass(obj, sys.modules["numpy"].dtype):
        with tracing(pickler, "Dt", obj):
            pickler.save_reduce(make._create_dtypemeta, (getattr(obj, "type", None),), obj=obj)
    elif option(pickler, "_byref"):
        warnings.warn(f"Cannot locate reference to {obj!r}.", make.PicklingWarning, stacklevel=3)
        with tracing(pickler, "T5", obj):
            save_global(pickler, obj)
    elif _is_namedtuple(obj):
        with tracing(pickler, "T6", obj):
            save_namedtuple(pickler, obj)
    else:
        with tracing(pickler, "T2", obj):
            save_class(pickler, obj)


TABLE[type] = save_type


@saves(typing._GenericAlias)
def save_generic_alias(pickler, obj):
    if obj.__origin__ is tuple and obj._name == "Tuple":
        with tracing(pickler, "Ga1", obj):
            empty = obj is make.Tuple[()] or obj == make.Tuple[()]
            argz = obj.__args__ if obj.__args__ or not empty else ((),)
            pickler.save_reduce(make._create_typing_tuple, (argz,), obj=obj)
        return
    with tracing(pickler, "Ga2", obj):
        reduced = obj.__reduce__()
        if isinstance(reduced, str):
            save_global(pickler, obj, reduced)
        else:
            pickler.save_reduce(*reduced, obj=obj)


@saves(typing.TypeVar, typing.ParamSpec)
def save_type_variable(pickler, obj):
    """Of the main module, say; one that can be imported goes by name."""
    with tracing(pickler, "Tv", obj):
        if _locate_function(obj, pickler):
            save_global(pickler, obj, obj.__name__)
            return
        kwds = {"bound": obj.__bound__, "covariant": obj.__covariant__, "contravariant": obj.__contravariant__}
        constraints = getattr(obj, "__constraints__", ())
        args = (type(obj), obj.__name__, constraints, {name: value for name, value in kwds.items() if value})
        pickler.save_reduce(make._create_ftype, args, (None, {"__module__": obj.__module__}), obj=obj)


@saves(dataclasses._HAS_DEFAULT_FACTORY_CLASS, label="DcHDF")
def save_dataclasses_HAS_DEFAULT_FACTORY_CLASS(pickler, obj):
    pickler.write(GLOBAL + b"dataclasses\n_HAS_DEFAULT_FACTORY\n")


@saves(type(dataclasses.MISSING), label="DcM")
def save_dataclasses_MISSING_TYPE(pickler, obj):
    pickler.write(GLOBAL + b"dataclasses\nMISSING\n")


if hasattr(dataclasses, "KW_ONLY"):

    @saves(type(dataclasses.KW_ONLY), label="DcKWO")
    def save_dataclasses_KW_ONLY_TYPE(pickler, obj):
        pickler.write(GLOBAL + b"dataclasses\nKW_ONLY\n")


@saves(dataclasses._FIELD_BASE, label="DcFB")
def save_dataclasses_FIELD_BASE(pickler, obj):
    pickler.write(GLOBAL + b"dataclasses\n" + obj.name.encode() + b"\n")
