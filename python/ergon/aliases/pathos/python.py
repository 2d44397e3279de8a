"""The older name of `pathos.serial`."""
from .serial import __doc__, SerialPool  # noqa: F401
from .serial import _SerialPool__STATE as __STATE  # noqa: F401

__all__ = ["PythonSerial"]

PythonSerial = SerialPool
