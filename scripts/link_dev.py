"""Makes `import ergon` in .venv mean this working tree: link_dev.py BUILD_FOLDER

A line in a .pth file names python/, and the built extension module is linked into python/ergon. No import
hook is involved, because the time a worker needs to start counts in milliseconds. The command `ergon` is
copied beside the interpreter it is tied to.
"""

import filecmp
import os
import pathlib
import shutil
import sys
import sysconfig

ROOT = pathlib.Path(__file__).resolve().parent.parent


def link(target: pathlib.Path, place: pathlib.Path) -> None:
    """Makes `place` a symbolic link to `target`, in one step, and only if it is not one already."""
    if place.is_symlink() and place.readlink() == target:
        return
    temporary = place.with_name(f".{place.name}.{os.getpid()}")
    temporary.symlink_to(target)
    temporary.replace(place)


def copy(source: pathlib.Path, place: pathlib.Path) -> None:
    """Copies a program in one step, and only if it changed; one that runs goes on with the old file."""
    if place.exists() and filecmp.cmp(source, place, shallow=False):
        return
    temporary = place.with_name(f".{place.name}.{os.getpid()}")
    shutil.copy2(source, temporary)
    temporary.replace(place)


def main() -> None:
    build = pathlib.Path(sys.argv[1]).resolve()
    name = "_core" + sysconfig.get_config_var("EXT_SUFFIX")
    module = build / "python" / "core" / name
    if not module.exists():
        sys.exit(f"{module} is not there: was the build configured with another Python? rm -r {build} and make dev")
    link(module, ROOT / "python" / "ergon" / name)

    pth = pathlib.Path(sysconfig.get_path("purelib")) / "ergon-dev.pth"
    line = f"{ROOT / 'python'}\n"
    if not pth.exists() or pth.read_text() != line:
        pth.write_text(line)

    command = build / "src" / "cli" / "ergon"
    if command.exists():
        copy(command, pathlib.Path(sys.prefix) / "bin" / "ergon")


main()
