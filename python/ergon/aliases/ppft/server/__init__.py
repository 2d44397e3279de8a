"""The server that lends the workers of this machine to `ppft.Server` on others; the command `ppserver`."""

import atexit
import configparser
import getopt
import logging
import os
import signal
import stat
import sys
import threading
import time
import warnings
from multiprocessing import AuthenticationError
from multiprocessing.connection import Listener

import ppft as pp
from ppft import _link, auto, common
from ppft._job import run_packed

copyright = common.copyright
__version__ = version = common.__version__

STAT_SIGNAL = "SIGUSR1"
_PATIENCE = 20.0  # seconds until a client has to have proved that it knows the secret

USAGE = f"""Usage: ppserver [-hdar] [-f format] [-n proto] [-c config_path] [-i interface] [-b broadcast]
                [-p port] [-w nworkers] [-s secret] [-S secret_file] [-t seconds] [-k seconds] [-P pid_file]

Lends workers of this machine to programs that name it: ppft.Server(ppservers=("host:port",)).

Options:
-h, --help         : this help message
-d                 : set log level to debug
-f format          : log format
-a                 : make this server known on the local network
-r                 : a new worker process for each job
-n proto           : ignored; streams are pickle's protocol 5
-c path            : path to a config file
-i interface       : address to listen on (127.0.0.1)
-b broadcast       : broadcast address for -a
-p port            : port to listen on ({pp.Server.default_port}); 0 takes a free one and prints it
-w nworkers        : number of workers (every processor)
-s secret          : secret that clients must know; others see it in the list of processes
-S file            : a file with the secret, which only you can read
-t seconds         : exit when no client was connected for so long
-k seconds         : ignored; broken connections are noticed by themselves
-P pid_file        : file to write the process id to

Without a secret it is this user's own key ({_link.key_file()}), made when first needed:
programs of the same user find it by themselves, those on other machines need a copy. Nothing is encrypted;
across a network that others listen on, go through a tunnel (ergon tunnel, pathos_connect).

{STAT_SIGNAL} prints what was done.
"""


class _NetworkServer(pp.Server):
    """A server whose workers others use. `listen` serves until `destroy`."""

    def __init__(
        self,
        ncpus="autodetect",
        interface="127.0.0.1",
        broadcast="255.255.255.255",
        port=None,
        secret=None,
        timeout=None,
        restart=False,
        proto=2,
        socket_timeout=3600,
        pid_file=None,
    ):
        super().__init__(ncpus, (), secret, restart, proto, socket_timeout)
        self.bcast, self.timeout = broadcast, timeout
        self._key = _link.key(secret)
        self._listener = Listener((interface, self.default_port if port is None else port), "AF_INET", backlog=64)
        self.host, self.port = self._listener.address
        self.chosen = port == 0  # nobody knows it yet
        self.ncon, self.last_con_time = 0, time.monotonic()
        self._open_connections = set()
        self._changed = threading.Condition()
        if pid_file:
            with open(pid_file, "w") as file:
                print(os.getpid(), file=file)
            atexit.register(_remove, pid_file)
        if timeout is not None:
            common.start_thread("timeout_check", self.check_timeout)

    def ncon_add(self, val):
        """A client came (1) or went (-1)."""
        with self._changed:
            self.ncon += val
            self.last_con_time = time.monotonic()
            self._changed.notify_all()

    def check_timeout(self):
        """End the server when there was no client for `timeout` seconds."""
        with self._changed:
            while not self._exiting:
                left = self.last_con_time + self.timeout - time.monotonic()
                if self.ncon == 0 and left <= 0:
                    break
                self._changed.wait(None if self.ncon else left)
        self.logger.debug("no client for %s seconds: exiting", self.timeout)
        self.destroy()

    def listen(self):
        """Serve clients, each in a thread of its own."""
        while not self._exiting:
            try:
                connection = self._listener.accept()
            except OSError as error:
                if self._exiting:
                    break
                self.logger.warning("cannot accept a connection: %s", error)
                time.sleep(0.1)
                continue
            common.start_thread("client_socket", self.crun, (connection,))

    def crun(self, connection):
        """Authenticate a client and do its jobs."""
        limit = threading.Timer(_PATIENCE, _shut, (connection,))
        limit.daemon = True
        limit.start()
        try:
            _link.welcome(connection, self._key, self.get_ncpus())
        except (AuthenticationError, OSError, EOFError, ValueError) as error:
            self.logger.warning("authentication failed: %s", error)
            connection.close()
            return
        finally:
            limit.cancel()
        self.ncon_add(1)
        with self._changed:
            self._open_connections.add(connection)
        try:
            self._serve(connection)
        finally:
            with self._changed:
                self._open_connections.discard(connection)
            self.ncon_add(-1)

    def _serve(self, connection):
        lock, jobs = threading.Lock(), set()

        def answer(number, future):
            with lock:
                jobs.discard(future)
                try:
                    payload = future.result()
                except BaseException as error:  # the worker died, or was ended
                    payload = _link.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
                try:
                    connection.send_bytes(_link.pack(number, payload))
                except (OSError, ValueError):
                    pass  # the client has gone

        try:
            while True:
                number, payload = _link.unpack(connection.recv_bytes())
                future = self._pool.apply_async(run_packed, (payload,))._future
                with lock:
                    jobs.add(future)
                future.add_done_callback(lambda done, number=number: answer(number, done))
        except (OSError, EOFError, ValueError, AttributeError) as error:
            self.logger.debug("a client has gone: %s", error or type(error).__name__)
        with lock:
            left = list(jobs)
        for future in left:
            future.cancel()
        with lock:
            connection.close()

    def broadcast(self):
        """Make the server known on the local network."""
        discover = auto.Discover(self)
        common.start_thread("server_broadcast", discover.run, (("", self.port), (self.bcast, self.port)))

    def destroy(self):
        """End the server and its workers."""
        self._exiting = True
        try:
            _shut(self._listener._listener._socket)
        except AttributeError:
            pass
        self._listener.close()
        with self._changed:
            connections = list(self._open_connections)
            self._changed.notify_all()
        for connection in connections:
            _shut(connection)
        super().destroy()


def _shut(end):
    """Wakes whoever reads from a socket, so that its own thread closes it."""
    import socket

    try:
        with socket.socket(fileno=os.dup(end.fileno())) as copy:
            copy.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def _remove(path):
    try:
        os.remove(path)
    except OSError:
        pass


_TYPES = {"ncpus": int, "port": int, "proto": int, "timeout": int, "socket_timeout": int, "restart": "bool"}
_PLACES = {
    "secret": ("general", "secret"),
    "ncpus": ("general", "workers"),
    "proto": ("general", "proto"),
    "restart": ("general", "restart"),
    "pid_file": ("general", "pid_file"),
    "interface": ("network", "interface"),
    "broadcast": ("network", "broadcast"),
    "port": ("network", "port"),
    "timeout": ("network", "timeout"),
    "socket_timeout": ("network", "socket_timeout"),
}


def parse_config(file_loc):
    """The arguments of a server, whether to make it known, and whether to debug, as a config file says."""
    config = configparser.ConfigParser(interpolation=None)
    try:
        with open(file_loc) as file:
            config.read_file(file)
    except (OSError, configparser.Error) as error:
        sys.exit(f"ppserver: {file_loc}: {error}")
    arguments = {}
    for name, (section, key) in _PLACES.items():
        if not config.has_option(section, key):
            continue
        kind = _TYPES.get(name)
        try:
            text = config.get(section, key).strip("\"'")
            arguments[name] = config.getboolean(section, key) if kind == "bool" else kind(text) if kind else text
        except ValueError as error:
            sys.exit(f"ppserver: {file_loc}: {key}: {error}")
    if "secret" in arguments:
        _check_private(file_loc)
    discovery = config.getboolean("network", "autodiscovery", fallback=False)
    return arguments, discovery, config.getboolean("general", "debug", fallback=False)


def _check_private(path):
    if stat.S_IMODE(os.stat(path).st_mode) & 0o077:
        warnings.warn(f"{path} holds a secret and can be read by others: chmod 600 {path}", stacklevel=3)


def print_usage():
    """Print the help."""
    print(USAGE, end="")


_OPTIONS = {
    "-i": ("interface", str),
    "-s": ("secret", str),
    "-p": ("port", int),
    "-w": ("ncpus", int),
    "-b": ("broadcast", str),
    "-n": ("proto", int),
    "-t": ("timeout", int),
    "-k": ("socket_timeout", int),
    "-P": ("pid_file", str),
}


def create_network_server(argv):
    """The server that a command line describes; it does not listen yet."""
    try:
        options, rest = getopt.getopt(argv, "hdarn:c:b:i:p:w:s:S:t:f:k:P:", ["help"])
    except getopt.GetoptError:
        print_usage()
        raise
    arguments, discovery, debug = {}, False, False
    log_format = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"
    for option, value in options:
        if option in ("-h", "--help"):
            print_usage()
            sys.exit()
        elif option == "-c":
            arguments, discovery, debug = parse_config(value)
        elif option == "-S":
            _check_private(value)
            with open(value) as file:
                arguments["secret"] = file.read().strip()
        elif option in _OPTIONS:
            name, kind = _OPTIONS[option]
            arguments[name] = kind(value)
        elif option == "-r":
            arguments["restart"] = True
        elif option == "-f":
            log_format = value
        discovery, debug = discovery or option == "-a", debug or option == "-d"
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(log_format))
    logging.getLogger("pp").setLevel(logging.DEBUG if debug else logging.WARNING)
    logging.getLogger("pp").addHandler(handler)
    server = _NetworkServer(**arguments)
    if discovery:
        server.broadcast()
    return server


def main(argv=None):
    """The command `ppserver`."""
    try:
        server = create_network_server(sys.argv[1:] if argv is None else argv)
    except (getopt.GetoptError, ValueError, OSError) as error:
        print(f"ppserver: {error}", file=sys.stderr)
        return 2 if isinstance(error, (getopt.GetoptError, ValueError)) else 1

    def end(signum, frame):
        raise KeyboardInterrupt

    signal.signal(getattr(signal, STAT_SIGNAL), lambda signum, frame: server.print_stats())
    signal.signal(signal.SIGTERM, end)
    if server.chosen:
        print(server.port, flush=True)
    try:
        server.listen()
    except KeyboardInterrupt:
        pass
    finally:
        server.destroy()
    return 0
