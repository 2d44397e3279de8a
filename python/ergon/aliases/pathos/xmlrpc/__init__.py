"""XML-RPC servers."""

from .server import XMLRPCRequestHandler, XMLRPCServer  # noqa: F401
