"""The hosts a program knows, each with the shell file that commands there read first."""

from ergon import hosts as _hosts

default_profile = ".bash_profile"
_profiles = _hosts._profiles  # one registry, for programs of either kind


def get_profile(rhost, assume=True):
    """The profile of a host; for one that is not registered the default, or None unless `assume`."""
    return _profiles.get(rhost, default_profile if assume else None)


def get_profiles():
    """All profiles by host."""
    return _profiles


def register_profiles(profiles):
    """Register a dict of profiles by host."""
    _hosts.register_profiles(profiles)


def register(rhost, profile=None):
    """Register one host, with the default profile if none is given."""
    _hosts.register(rhost, default_profile if profile is None else profile)
