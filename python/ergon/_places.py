"""Places as the engine is given them: how each is reached, and what its workers are told when they start."""

import os
import sys

__all__ = ["specs", "tag"]


def tag():
    """What two hosts must have in common so that functions can travel between them."""
    return f"{sys.implementation.cache_tag}-{sys.platform}-{os.uname().machine}"


def _key(place):
    from .errors import ConfigError

    if place.key is None:
        raise ConfigError(f"{place.name}: which key? Add ?key=FILE, the file `ergon server` was started with")
    with open(os.path.expanduser(place.key), encoding="ascii") as f:
        return bytes.fromhex(f.read().strip())


def _reach(place, session):
    """The engine's words for the way there."""
    if place.kind == "exec":
        return {"kind": "exec", "argv": ["/bin/sh", "-c", place.host]}
    if place.kind == "tcp":
        return {"kind": "tcp", "host": place.host, "port": place.port, "key": _key(place)}
    from . import _seed

    return {
        "kind": "ssh",
        "host": place.host,
        "port": place.port or 0,
        "user": place.user,
        "config": place.config,
        "password": place.password,
        **_seed.bootstrap(place, session),
    }


def specs(places, initializer=None, initargs=()):
    """A dict for each place, see python/core/pool/places.c."""
    from ._worker import message

    init = message(initializer, initargs, elsewhere=True) if places else b""
    out = []
    for place in places:
        session = os.urandom(16)
        out.append(
            {
                "name": place.name,
                "label": "\n".join([*([] if place.kind == "exec" else [place.host]), *place.tags]),
                "slots": place.slots or 0,
                "tag": tag(),
                "init": init,
                "session": session,
                **_reach(place, session),
            }
        )
    return out
