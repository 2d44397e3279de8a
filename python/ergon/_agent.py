"""Body of an agent: ``python -m ergon._agent [--session HEX] [--lease SECONDS]``, its link on standard input and output.

Without a session it is this process and ends with its link; with one it is a daemon that this process finds or starts,
and goes on when the link breaks.
"""

import sys

__all__ = ["main"]


def main(argv=None):
    """Serves until the client has gone. Returns the exit status."""
    import argparse

    from . import _core
    from ._places import tag
    from ._worker import zygote_argv
    from .errors import ErgonError

    parser = argparse.ArgumentParser(prog="ergon agent", description="The part of a pool that runs on another host.")
    parser.add_argument("--stdio", action="store_true", help="the link is standard input and output (the default)")
    parser.add_argument("--session", help="32 hexadecimal digits: attach to the daemon of that session")
    parser.add_argument("--lease", type=float, default=0.0, help="seconds it lives without a link")
    args = parser.parse_args(argv)
    try:
        session = bytes.fromhex(args.session) if args.session else None
        zygote = [arg for arg in zygote_argv() if arg != "-S"]  # workers look for modules where this host has them
        _core._agent_main(zygote, tag(), sys.version.split()[0], session, args.lease)
    except (ErgonError, OSError, ValueError) as error:
        print(f"ergon agent: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
