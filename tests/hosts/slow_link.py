"""A link that takes its time: ``slow_link.py DELAY_MS COMMAND…`` runs the command and passes its standard input and
output on, each byte DELAY_MS later. With SIGUSR1 it stops passing anything on, for good."""

import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque


def main():
    delay = float(sys.argv[1]) / 1000
    child = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    cut = []
    signal.signal(signal.SIGUSR1, lambda *_: cut.append(1))
    ways = [(0, child.stdin.fileno()), (child.stdout.fileno(), 1)]
    queues = {source: deque() for source, _ in ways}
    left = {source for source, _ in ways}
    with selectors.DefaultSelector() as selector:
        for source, _ in ways:
            selector.register(source, selectors.EVENT_READ)
        while left:
            now = time.monotonic()
            due = [queue[0][0] for queue in queues.values() if queue]
            for key, _ in selector.select(max(min(due) - now, 0) if due else None):
                data = os.read(key.fd, 1 << 20)
                queues[key.fd].append((time.monotonic() + delay, data))
                if not data:
                    selector.unregister(key.fd)
            for source, target in ways:
                while queues[source] and queues[source][0][0] <= time.monotonic():
                    data = queues[source].popleft()[1]
                    if not data:
                        left.discard(source)
                        child.stdin.close() if source == 0 else os.close(1)
                        break
                    while data and not cut:
                        data = data[os.write(target, data) :]
    return child.wait()


if __name__ == "__main__":
    try:
        status = main()
    except (BrokenPipeError, ConnectionResetError):
        status = 1
    os._exit(status)
