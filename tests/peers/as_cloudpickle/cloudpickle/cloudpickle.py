"""The internals of cloudpickle that its tests import: three have a counterpart, the others raise."""

import types
import typing

from ergon._core import importable

from cloudpickle import *  # noqa: F403

_make_empty_cell = types.CellType


def cell_set(cell: types.CellType, value: typing.Any) -> None:
    cell.cell_contents = value


def _should_pickle_by_reference(obj: typing.Any) -> bool:
    if not isinstance(obj, (type, types.FunctionType, types.ModuleType)):
        raise TypeError("cannot check importability of object instances")
    return importable(obj)


def _internal(*args: typing.Any, **kwargs: typing.Any) -> typing.NoReturn:
    raise NotImplementedError("an internal of cloudpickle")


_extract_class_dict = _extract_code_globals = _lookup_module_and_qualname = _whichmodule = _internal
