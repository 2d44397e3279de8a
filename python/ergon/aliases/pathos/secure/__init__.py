"""Commands, copies and tunnels on other hosts, through ssh and scp."""

from .connection import Pipe  # noqa: F401
from .copier import Copier, FileNotFound  # noqa: F401
from .tunnel import Tunnel, TunnelException  # noqa: F401
