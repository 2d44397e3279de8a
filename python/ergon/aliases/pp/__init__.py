"""The older name of `ppft`."""

from ppft import *  # noqa: F401,F403
from ppft import DestroyedServerError, Server, Template, __version__, citation, license, version  # noqa: F401
