"""Run a command on several hosts at once: launch.py HOST..."""

import sys

from ergon import ssh

COMMAND = "echo started on $(uname -n); sleep 0.5; uptime"


def main(hosts):
    pipes = [ssh.Pipe(host, COMMAND, background=True) for host in hosts]
    for pipe in pipes:
        pipe.launch()
        print(f"{pipe.host}: process {pipe.pid} runs: {pipe.status() is None}")
    for pipe in pipes:
        for line in pipe.response().splitlines():
            print(f"{pipe.host}: {line}")
        print(f"{pipe.host}: ended with status {pipe.status()}")
    endless = ssh.Pipe(hosts[0], "sleep 1000", background=True)
    endless.launch()
    endless.kill()
    print(f"{endless.host}: stopped, status {endless.status()}")


if __name__ == "__main__":
    main(sys.argv[1:] or sys.exit(__doc__))
