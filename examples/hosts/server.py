"""Start a server on a host, reach it through a tunnel, and compute with its workers: server.py HOST

The same in one command: ergon server --through HOST
"""

import sys

import ergon
from ergon import ssh


def main(host):
    with ssh.Server(host) as server:
        print("reached as", server.resource.partition("?")[0])
        with ergon.Pool(server.resource) as pool:
            print("sum of squares", sum(pool.map(lambda n: n * n, range(100))))


if __name__ == "__main__":
    main(*sys.argv[1:2] or sys.exit(__doc__))
