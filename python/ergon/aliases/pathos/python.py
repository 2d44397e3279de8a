"""The older name of `pathos.serial`."""

from .serial import SerialPool, __doc__  # noqa: F401
from .serial import _SerialPool__STATE as __STATE  # noqa: F401

__all__ = ["PythonSerial"]

PythonSerial = SerialPool
