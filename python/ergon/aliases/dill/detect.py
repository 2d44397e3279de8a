from ergon.aliases import _share

_share.run("ergon.pickle.detect", globals())

from .logger import trace  # noqa: E402, F401
