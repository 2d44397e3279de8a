"""The commands that come with pathos and ppft, under their present and their older names."""

import argparse
import sys

__all__ = ["pathos_connect", "pathos_server", "pathos_tunnel", "portpicker", "ppserver", "tunneled_pathos_server"]


def _use_aliases():
    from . import folder

    if folder() not in sys.path:
        sys.path.insert(0, folder())


def portpicker(argv=None):
    """Print a free port."""
    parser = argparse.ArgumentParser(prog="portpicker", description="Print the number of a free port.")
    parser.add_argument("--min", type=int, default=1024, help="not below this one (1024)")
    parser.add_argument("--max", type=int, default=65535, help="not above this one (65535)")
    options = parser.parse_args(argv)
    from ._ports import randomport

    if not 0 < options.min <= options.max < 65536:
        parser.error("0 < min <= max < 65536")
    try:
        print(randomport(options.min, options.max))
    except RuntimeError:
        print(f"portpicker: no port from {options.min} to {options.max} is free", file=sys.stderr)
        return 1
    return 0


def ppserver(argv=None):
    """Lend this machine's workers."""
    _use_aliases()
    from ppft.server import main

    return main(sys.argv[1:] if argv is None else argv)


_HOST = ("host", "localhost", "the host to connect to (localhost)")
_SERVER = ("server", "ppserver", "the command of a server on the host (ppserver)")
_PORT = ("port", None, "the port the server listens on (a free one)")
_PROFILE = ("profile", None, "a shell file that is read first on the host (.bash_profile)")


def _parse(name, description, words, argv):
    parser = argparse.ArgumentParser(
        prog=name,
        description=description,
        epilog="Ends what it started when Enter is pressed or standard input ends.",
    )
    for word, default, text in words:
        parser.add_argument(word, nargs="?", default=default, help=text)
    return parser, parser.parse_args(argv)


def pathos_connect(argv=None):
    """Start a server, a tunnel, or both."""
    server = ("server", "tunnel", "the command of a server on the host, or 'tunnel' for a tunnel alone (tunnel)")
    port = ("port", None, "the port the server listens on, or 'tunnel' for a free one and a tunnel to it")
    text = "Connect to a host and start a server, a tunnel, or both."
    parser, words = _parse("pathos_connect", text, (_HOST, server, port, _PROFILE), argv)
    if words.server == "tunnel":
        if words.port:
            parser.error(f"port {words.port!r} is not valid for 'tunnel'")
        return _connect(words.host, None, None, None, tunnel=True)
    if words.port == "tunnel":
        return _connect(words.host, words.server, None, words.profile, tunnel=True)
    return _connect(words.host, words.server, _number(parser, words.port), words.profile, tunnel=False)


def pathos_server(argv=None):
    """Start a server on a host."""
    text = "Connect to a host and start a server there."
    parser, words = _parse("pathos_server.py", text, (_HOST, _SERVER, _PORT, _PROFILE), argv)
    return _connect(words.host, words.server, _number(parser, words.port), words.profile, tunnel=False)


def pathos_tunnel(argv=None):
    """Establish a tunnel to a host."""
    port = ("port", None, "the port of the host to lead to (a free one)")
    parser, words = _parse("pathos_tunnel.py", "Establish a secure tunnel to a host.", (_HOST, port), argv)
    return _connect(words.host, None, _number(parser, words.port), None, tunnel=True)


def tunneled_pathos_server(argv=None):
    """Start a server on a host, and a tunnel to it."""
    text = "Connect to a host, start a server there and a tunnel to it."
    parser, words = _parse("tunneled_pathos_server.py", text, (_HOST, _SERVER, _PORT, _PROFILE), argv)
    return _connect(words.host, words.server, _number(parser, words.port), words.profile, tunnel=True)


def _number(parser, text):
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        parser.error(f"{text!r} is no port")
    return int(text)


def _connect(host, server, port, profile, tunnel):
    _use_aliases()
    from pathos import core
    from pathos.connection import PipeException
    from pathos.hosts import get_profile
    from pathos.secure import TunnelException

    link = launcher = None
    try:
        if tunnel:
            link = core.connect(host, port)
            port = link._rport
            print(f"executing {{ssh -N -L {link._lport}:{host}:{link._rport}}}")
        if server:
            where = host if tunnel or host != "localhost" else None
            port = core.randomport(where) if port is None else port
            launcher = core.serve(server, where, port, profile=profile or get_profile(host))
            if launcher._response is not None:
                print(f"Failure to start server: {launcher.response()}", file=sys.stderr)
                return 1
            print(f"\nServer running at port={port} with pid={launcher._far.pid if where else launcher.pid()}")
        if tunnel:
            print(f"Connected to localhost at port={link._lport}")
        print(f"Press <Enter> to {'kill server' if server else 'disconnect'}", flush=True)
        sys.stdin.readline()
    except (OSError, PipeException, TunnelException) as error:
        print(f"{host}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if launcher is not None:
            launcher.kill()
        if link is not None:
            link.disconnect()
    return 0
