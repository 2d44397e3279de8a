"""An XML-RPC server on a selector."""

import os
import socket
from http.server import BaseHTTPRequestHandler
from xmlrpc import client
from xmlrpc.server import SimpleXMLRPCDispatcher

from ..server import Server
from ..util import _b, _str, print_exc_info, spawn2

__all__ = ["XMLRPCServer", "XMLRPCRequestHandler"]

_MOST = 64 << 20  # bytes of one request


class XMLRPCServer(Server, SimpleXMLRPCDispatcher):
    """Answers XML-RPC requests with functions that were registered.

    >>> server = XMLRPCServer("localhost", 0)
    >>> server.register_function(pow)
    >>> server.activate()
    >>> server.serve()

    Whoever reaches the port may call the functions, so an empty host means the loopback interface. A function that is
    registered as 'run' is called in a process of its own.
    """

    def __init__(self, host, port):
        """Listen on `host` and `port` (0: a free one, then in the attribute `port`)."""
        Server.__init__(self)
        SimpleXMLRPCDispatcher.__init__(self, allow_none=False, encoding=None)
        self._activeProcesses = {}
        self._installSocket(host or "127.0.0.1", port)

    def _installSocket(self, host, port):
        self._socket = socket.create_server((host, port), backlog=10)
        self.host, self.port = host, self._socket.getsockname()[1]

    def activate(self):
        """Get ready to serve."""
        Server.activate(self)
        self._selector.notifyOnReadReady(self._socket, self._onConnection)
        self._selector.notifyWhenIdle(self._onSelectorIdle)

    def serve(self):
        """Serve until `deactivate`."""
        Server.serve(self, 5)

    def close(self):
        """Stop listening."""
        self._socket.close()

    def _marshaled_dispatch(self, data, dispatch_method=None):
        """The answer to a request; a failure has the traceback as its text."""
        try:
            params, method = client.loads(data)
            call = self._dispatch if dispatch_method is None else dispatch_method
            answer = client.dumps((call(method, params),), methodresponse=1)
        except client.Fault as fault:
            fault.faultString = print_exc_info()
            answer = client.dumps(fault)
        except Exception:
            answer = client.dumps(client.Fault(1, f"\n{print_exc_info()}"))
        return _b(answer, "utf-8")

    def _registerChild(self, pid, fromchild):
        self._activeProcesses[fromchild] = pid
        self._selector.notifyOnReadReady(fromchild, self._handleMessageFromChild)

    def _unRegisterChild(self, fd):
        del self._activeProcesses[fd]
        fd.close()

    def _handleMessageFromChild(self, selector, fd):
        fd.readline()  # 'done', or nothing when it died
        os.waitpid(self._activeProcesses[fd], 0)
        self._unRegisterChild(fd)

    def _onSelectorIdle(self, selector):
        return True

    def _onConnection(self, selector, fd):
        return self._onSocketConnection(fd)

    def _onSocketConnection(self, listener):
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(30)
            handler = XMLRPCRequestHandler(server=self, socket=connection)
            try:
                handler.handle()
            except OSError:
                pass  # the caller has gone
            finally:
                handler.rfile.close()
                handler.wfile.close()
        return True


class XMLRPCRequestHandler(BaseHTTPRequestHandler):
    """Handles one request."""

    def __init__(self, server, socket):
        self._server = server
        self.connection = socket
        self.rfile, self.wfile = socket.makefile("rb", -1), socket.makefile("wb", 0)
        self.client_address = socket.getpeername()[:2]

    def do_POST(self):
        """Answer a call."""
        try:
            length = int(self.headers["content-length"])
            if not 0 <= length <= _MOST:
                raise ValueError(f"a request of {length} bytes")
            data = self.rfile.read(length)
            _, method = client.loads(data)
        except Exception:
            self.send_response(500)
            self.end_headers()
            return
        if method == "run":
            spawn2(self._on_parent, lambda *ends: self._on_child(data, *ends))
        else:
            self._sendResponse(self._server._marshaled_dispatch(data))

    def _on_parent(self, pid, fromchild, tochild):
        self._server._registerChild(pid, fromchild)
        with tochild:
            tochild.write(b"done\n")

    def _on_child(self, data, pid, fromparent, toparent):
        try:
            self._sendResponse(self._server._marshaled_dispatch(data))
            _str(fromparent.readline())
            toparent.write(b"done\n")
        finally:
            os._exit(0)

    def log_message(self, format, *args):
        """Requests are logged at a low level."""
        import pathos

        pathos.logger(name="pathos.xmlrpc").info("%s - %s", self.address_string(), format % args)

    def _sendResponse(self, response):
        response = _b(response, "utf-8")
        self.send_response(200)
        self.send_header("Content-type", "text/xml")
        self.send_header("Content-length", str(len(response)))
        self.end_headers()
        self.wfile.write(response)
        self.wfile.flush()
        try:
            self.connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the caller has gone
