from . import config as config
from . import errors as errors
from . import hosts as hosts
from . import pickle as pickle
from . import profile as profile
from . import progress as progress
from . import ssh as ssh
from . import trace as trace
from ._core import copy as copy
from ._core import dump as dump
from ._core import dumps as dumps
from ._core import load as load
from ._core import loads as loads
from ._schedule import configure as configure
from ._schedule import functional as functional
from ._schedule import schedule as schedule
from .pool import Future as Future
from .pool import Pool as Pool
from .pool import ProcessPool as ProcessPool
from .pool import RemotePool as RemotePool
from .pool import SerialPool as SerialPool
from .pool import ThreadPool as ThreadPool

__version__: str

__all__ = [
    "Future",
    "Pool",
    "ProcessPool",
    "RemotePool",
    "SerialPool",
    "ThreadPool",
    "config",
    "configure",
    "copy",
    "dump",
    "dumps",
    "errors",
    "functional",
    "hosts",
    "load",
    "loads",
    "pickle",
    "profile",
    "progress",
    "schedule",
    "shutdown",
    "ssh",
    "trace",
]

def shutdown() -> None: ...
