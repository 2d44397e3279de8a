"""What a server on another machine and its clients have in common: the key, and messages.

Both ends prove that they have the key before anything else is read (the challenges of multiprocessing.connection, in both
directions). After that each message is a number of eight bytes and what it is about. Nothing is encrypted: a
network that others listen on is crossed through a tunnel.
"""

import hashlib
import os
import stat
import struct
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, answer_challenge, deliver_challenge

from ergon import dumps, loads

VERSION = ("ergon-pp", 1)
NUMBER = struct.Struct("<Q")


def key_file():
    """Where this user's key is kept."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(home, "ergon", "ppft.key")


def key(secret=None):
    """The key of a secret; without one, that of this user, which is made when it is first needed."""
    if secret is None:
        secret = _own_secret(key_file())
    return hashlib.blake2b(secret.encode(), person=b"ergon-ppft").digest()


def _own_secret(path):
    try:
        with open(path) as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise PermissionError(f"{path} can be read by others: chmod 600 it")
            return file.read().strip()
    except FileNotFoundError:
        pass
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    part = f"{path}.{os.getpid()}"
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(os.urandom(32).hex() + "\n")
    try:
        os.link(part, path)  # whoever was faster made it
    except FileExistsError:
        pass
    finally:
        os.unlink(part)
    return _own_secret(path)


def connect(address, secret_key):
    """A connection to a server and how many workers it has. OSError or EOFError when that fails."""
    connection = Client(address)
    try:
        answer_challenge(connection, secret_key)
        deliver_challenge(connection, secret_key)
        version, workers = loads(connection.recv_bytes())
        if version != VERSION:
            raise OSError(f"the server speaks {version}, not {VERSION}")
        return connection, workers
    except AuthenticationError:
        connection.close()
        raise OSError("the server has another secret") from None
    except BaseException:
        connection.close()
        raise


def welcome(connection, secret_key, workers):
    """The server's side of `connect`; AuthenticationError."""
    deliver_challenge(connection, secret_key)
    answer_challenge(connection, secret_key)
    connection.send_bytes(dumps((VERSION, workers)))


def pack(number, payload):
    return NUMBER.pack(number) + payload


def unpack(message):
    return NUMBER.unpack_from(message)[0], message[NUMBER.size :]
