"""Copy a folder to a host, work on it there, and copy the result back: transfer.py HOST"""

import pathlib
import sys
import tempfile

from ergon import ssh


def main(host):
    with tempfile.TemporaryDirectory() as here:
        folder = pathlib.Path(here, "poems")
        folder.mkdir()
        for number, text in enumerate(["the sea, the sea", "a rose is a rose", "no man is an island"]):
            (folder / f"{number}.txt").write_text(text + "\n")

        there = ssh.Pipe(host, "mktemp -d")().strip()
        try:
            ssh.Copier(folder, f"{host}:{there}/")()
            ssh.Pipe(host, f"cd {there}/poems && wc -w *.txt > counts")()
            ssh.Copier(f"{host}:{there}/poems/counts", here)()
        finally:
            ssh.Pipe(host, f"rm -r {there}")()
        print(pathlib.Path(here, "counts").read_text(), end="")


if __name__ == "__main__":
    main(*sys.argv[1:2] or sys.exit(__doc__))
