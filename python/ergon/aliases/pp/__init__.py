"""The older name of `ppft`."""

import sys

from ppft import *  # noqa: F401,F403
from ppft import (  # noqa: F401
    DestroyedServerError,
    Server,
    Template,
    __license__,
    __version__,
    auto,
    citation,
    common,
    license,
    version,
)

sys.modules[f"{__name__}.auto"] = auto
sys.modules[f"{__name__}.common"] = common
