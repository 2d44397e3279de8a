from collections.abc import Iterable, Mapping
from typing import Any

from ._resources import Place

__all__ = ["Host", "configured", "get_profile", "get_profiles", "look", "register", "register_profiles", "unregister"]

def register(host: str, profile: str) -> None: ...
def register_profiles(profiles: Mapping[str, str] | Iterable[tuple[str, str]]) -> None: ...
def unregister(host: str) -> None: ...
def get_profile(host: str) -> str | None: ...
def get_profiles() -> dict[str, str]: ...
def configured() -> list[Place]: ...

class Host:
    name: str
    reachable: bool
    error: str
    hostname: str
    system: str
    cores: int
    load: float
    memory_bytes: int
    python: str
    ergon: str
    connect_s: float
    latency_s: float
    bandwidth: float
    def __init__(self, **found: Any) -> None: ...
    def asdict(self) -> dict[str, Any]: ...

def look(hosts: str | Iterable[str | Place] | None = None, timeout: float = 15.0) -> list[Host]: ...
