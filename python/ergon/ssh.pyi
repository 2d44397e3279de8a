import builtins
import os
import signal as _signal
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar, overload

from ._resources import Place
from ._through import Server as Server

__all__ = ["Copier", "Pipe", "Server", "Tunnel", "arguments"]

_T = TypeVar("_T", str, bytes)
_Path = str | os.PathLike[str]

def arguments(
    host: str | Place | None,
    program: str = "ssh",
    *,
    user: str | None = None,
    port: int | None = None,
    config: str | None = None,
    options: str | Iterable[object] = (),
    password: bool = False,
) -> list[str]: ...

class _Program:
    def __init__(self, password: str | None) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
    def __del__(self) -> None: ...

class Pipe(_Program, Generic[_T]):
    host: str | Place | None
    command: str
    background: bool
    detached: bool
    stdin: bytes
    text: bool
    grace: float
    profile: str | None
    @overload
    def __init__(
        self: Pipe[str],
        host: str | Place | None,
        command: str | Sequence[str],
        *,
        background: bool = False,
        detached: bool = False,
        stdin: str | bytes | None = None,
        text: Literal[True] = True,
        grace: float = 2.0,
        user: str | None = None,
        port: int | None = None,
        config: str | None = None,
        options: str | Iterable[object] = (),
        password: str | None = None,
        profile: str | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: Pipe[bytes],
        host: str | Place | None,
        command: str | Sequence[str],
        *,
        background: bool = False,
        detached: bool = False,
        stdin: str | bytes | None = None,
        text: Literal[False],
        grace: float = 2.0,
        user: str | None = None,
        port: int | None = None,
        config: str | None = None,
        options: str | Iterable[object] = (),
        password: str | None = None,
        profile: str | None = None,
    ) -> None: ...
    def launch(self) -> None: ...
    @property
    def pid(self) -> int | None: ...
    def status(self) -> int | None: ...
    # None for a detached command only; those who start one know.
    def response(self, timeout: float | None = None) -> _T | Any: ...
    def __call__(self, timeout: float | None = None) -> _T | Any: ...
    @property
    def errors(self) -> _T: ...
    def kill(self, signal: int = _signal.SIGTERM) -> None: ...
    def close(self) -> None: ...

class Copier(_Program):
    sources: list[str]
    destination: str
    launcher: Literal["scp", "sftp"]
    background: bool
    preserve: bool
    recursive: bool
    def __init__(
        self,
        source: _Path | Iterable[_Path],
        destination: _Path,
        *,
        launcher: Literal["scp", "sftp"] = "scp",
        background: bool = False,
        recursive: bool | None = None,
        preserve: bool = True,
        user: str | None = None,
        port: int | None = None,
        config: str | None = None,
        options: str | Iterable[object] = (),
        password: str | None = None,
    ) -> None: ...
    def launch(self) -> None: ...
    @property
    def pid(self) -> int | None: ...
    def status(self) -> int | None: ...
    def response(self, timeout: float | None = None) -> None: ...
    def __call__(self, timeout: float | None = None) -> None: ...
    def kill(self, signal: int = _signal.SIGTERM) -> None: ...
    def close(self, signal: int = _signal.SIGTERM) -> None: ...

class Tunnel:
    host: str | Place | None
    port: int | None
    through: str | None
    local: int | None
    def __init__(
        self,
        host: str | Place | None = None,
        port: int | None = None,
        *,
        local: int = 0,
        through: str | None = None,
        user: str | None = None,
        ssh_port: int | None = None,
        config: str | None = None,
        options: str | Iterable[object] = (),
        password: str | None = None,
    ) -> None: ...
    def connect(self, host: str | None = None, port: int | None = None, through: str | None = None) -> int: ...
    def disconnect(self) -> None: ...
    @staticmethod
    def list() -> builtins.list[dict[str, Any]]: ...
    @property
    def connected(self) -> bool: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
    def __del__(self) -> None: ...
