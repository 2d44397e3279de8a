"""The interface of ppft (Parallel Python) on Ergon: a job server with the workers of this machine and of others."""

from ergon.aliases._legal import LICENSE as __license__  # noqa: F401
from ergon.aliases._legal import citation, license  # noqa: F401

from . import auto, common  # noqa: F401
from ._server import DestroyedServerError, Server, Template, _Statistics, _Task  # noqa: F401

__version__ = version = "1.7.8"
__author__ = "the Ergon developers"
copyright = __license__.splitlines()[2]
