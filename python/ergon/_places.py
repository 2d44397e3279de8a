"""Places as the engine is given them: how each is reached, and what its workers are told when they start."""

import os
import shlex
import sys

__all__ = ["specs", "tag", "usual_key"]


def tag():
    """What two hosts must have in common so that functions can travel between them."""
    return f"{sys.implementation.cache_tag}-{sys.platform}-{os.uname().machine}"


def usual_key():
    """The key file of servers, and of pools that use them, when none is named."""
    return os.environ.get("ERGON_KEY") or os.path.join(os.path.expanduser("~"), ".config", "ergon", "key")


def _key(place):
    from . import _core
    from .errors import ConfigError

    path = os.path.expanduser(place.key) if place.key else usual_key()
    if not os.path.exists(path):
        raise ConfigError(f"{place.name}: no key file {path}: add ?key=FILE, the file `ergon server` was started with")
    return _core._read_key(path)


def _reach(place, session):
    """The engine's words for the way there."""
    if place.kind == "exec":
        if "$ERGON_AGENT" not in place.host:
            return {"kind": "exec", "argv": ["/bin/sh", "-c", place.host]}
        from . import _seed

        way = _seed.bootstrap(place, session)
        start = f"ERGON_AGENT={shlex.quote(way.pop('command'))}; "
        return {"kind": "exec", "argv": ["/bin/sh", "-c", start + place.host], **way}
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


def specs(places, initializer=None, initargs=(), keeps=True):
    """A dict for each place, see python/core/pool/places.c."""
    from ._worker import message

    inits = {}  # by what differs
    out = []
    for place in places:
        if place.modules not in inits:
            inits[place.modules] = message(initializer, initargs, elsewhere=True, modules=place.modules, keeps=keeps)
        session = os.urandom(16)
        out.append(
            {
                "name": place.name,
                "label": "\n".join([*([] if place.kind == "exec" else [place.host]), *place.tags]),
                "slots": place.slots or 0,
                "data_ports": place.data_ports,
                "tag": tag(),
                "init": inits[place.modules],
                "session": session,
                **_reach(place, session),
            }
        )
    return out
