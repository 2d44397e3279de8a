"""The commands that come with pathos, ppft and dill, under their present and their older names."""

import argparse
import os
import sys

__all__ = [
    "get_gprof",
    "get_objgraph",
    "pathos_connect",
    "pathos_server",
    "pathos_tunnel",
    "portpicker",
    "ppserver",
    "tunneled_pathos_server",
    "undill",
]


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


# --- dill ---------------------------------------------------------------------------------------------------------------


def _load(place):
    import dill

    with open(place, "rb") as file:
        return dill.load(file)


def _complain(name, what, error):
    print(f"{name}: {what}: {type(error).__name__}: {error}", file=sys.stderr)
    return 1


def undill(argv=None):
    """Print what pickle files hold."""
    parser = argparse.ArgumentParser(
        prog="undill", description="Load files that dill or pickle wrote, and print each object."
    )
    parser.add_argument("files", nargs="+", metavar="FILE")
    files = parser.parse_args(argv).files
    _use_aliases()
    status = 0
    for place in files:
        try:
            print(_load(place))
        except Exception as error:  # a stream may raise anything
            status = _complain("undill", place, error)
    return status


def get_objgraph(argv=None):
    """Draw what an object refers to."""
    parser = argparse.ArgumentParser(
        prog="get_objgraph",
        description="Draw what an object refers to, as NAME.png. Needs the package objgraph, and graphviz.",
    )
    parser.add_argument("name", help="a pickle file, or the name of a type in dill.objects (IntType)")
    name = parser.parse_args(argv).name
    _use_aliases()
    import dill

    dill.load_types(pickleable=True, unpickleable=True)
    try:
        obj = dill.objects[name] if name in dill.objects else _load(name)
    except FileNotFoundError:
        print(f"get_objgraph: {name!r} is neither a file nor one of {', '.join(sorted(dill.objects))}", file=sys.stderr)
        return 1
    except Exception as error:  # a stream may raise anything
        return _complain("get_objgraph", name, error)
    try:
        import objgraph
    except ImportError:
        print("get_objgraph: pip install objgraph, which draws the graph", file=sys.stderr)
        return 1
    objgraph.show_refs(obj, filename=os.path.splitext(name)[0] + ".png")
    return 0


def get_gprof(argv=None):
    """Profile the pickling of an object, and draw where the time goes."""
    parser = argparse.ArgumentParser(
        prog="get_gprof",
        description="Print where the time goes when dill pickles an object, and draw it as TYPE.call.png. "
        "The drawing needs the package gprof2dot, and graphviz; other options are gprof2dot's (-n 5 -e 1).",
    )
    parser.add_argument("code", help="what makes the object: statements, and an expression ('import math; math.pi')")
    options, rest = parser.parse_known_args(argv)
    # Options of gprof2dot come with values in between: the code is the last word, whatever argparse took for it.
    words = list(sys.argv[1:] if argv is None else argv)
    code, arguments = (words[-1], words[:-1]) if rest else (options.code, [])
    _use_aliases()
    import ast

    import dill

    space = {"__name__": "__main__"}
    try:
        tree = ast.parse(code)
        if not tree.body or not isinstance(tree.body[-1], ast.Expr):
            parser.error("the code has to end with an expression")
        last = ast.Expression(tree.body.pop().value)
        exec(compile(tree, "<code>", "exec"), space)
        obj = eval(compile(last, "<code>", "eval"), space)
    except Exception as error:  # it is the user's code
        return _complain("get_gprof", code, error)
    return _draw_profile(dill, obj, arguments)


def _draw_profile(dill, obj, arguments):
    import cProfile
    import pstats
    import shutil
    import subprocess
    import tempfile

    profile = cProfile.Profile()
    try:
        profile.runcall(dill.dumps, obj)
    except Exception as error:
        return _complain("get_gprof", f"pickling a {type(obj).__name__}", error)
    pstats.Stats(profile).strip_dirs().sort_stats("cumtime").print_stats(20)
    missing = [program for program in ("gprof2dot", "dot") if not shutil.which(program)]
    if missing:
        print(
            f"get_gprof: no drawing without {' and '.join(missing)} (pip install gprof2dot; graphviz)", file=sys.stderr
        )
        return 1
    image = f"{type(obj).__name__}.call.png"
    with tempfile.TemporaryDirectory() as folder:
        place = os.path.join(folder, "profile")
        profile.dump_stats(place)
        graph = subprocess.run(["gprof2dot", "-f", "pstats", *arguments, place], stdout=subprocess.PIPE)
    if graph.returncode:
        return graph.returncode
    return subprocess.run(["dot", "-Tpng", "-o", image], input=graph.stdout).returncode
