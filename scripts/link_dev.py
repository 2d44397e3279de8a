"""Makes `import ergon` in .venv mean this working tree: link_dev.py BUILD_FOLDER [SITE_FOLDER]

A line in a .pth file names python/, and the built extension module is linked into python/ergon. No import
hook is involved, because the time a worker needs to start counts in milliseconds. The command `ergon` is
copied beside the interpreter it is tied to.

With SITE_FOLDER nothing of that changes; the package is laid out there, made of links, with the module of that
build: a second build (sanitizers, a debug Python) is used with PYTHONPATH=SITE_FOLDER.
"""

import filecmp
import os
import pathlib
import shutil
import sys
import sysconfig
import tomllib

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


def lay_out(module: pathlib.Path, site: pathlib.Path) -> None:
    package = site / "ergon"
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir(parents=True)
    for entry in (ROOT / "python" / "ergon").iterdir():
        if entry.name != "__pycache__" and not entry.name.startswith("_core"):
            (package / entry.name).symlink_to(entry)
    (package / module.name).symlink_to(module)


def write_scripts(place: pathlib.Path) -> None:
    """The commands that a wheel brings: what installing it would write."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name, entry in project["scripts"].items():
        module, function = entry.split(":")
        text = f"#!{sys.executable}\nimport sys\n\nfrom {module} import {function}\n\nsys.exit({function}())\n"
        script = place / name
        if not script.exists() or script.read_text(errors="replace") != text:
            temporary = place / f".{name}.{os.getpid()}"
            temporary.write_text(text)
            temporary.chmod(0o755)
            temporary.replace(script)


def use_here(build: pathlib.Path, module: pathlib.Path) -> None:
    link(module, ROOT / "python" / "ergon" / module.name)
    pth = pathlib.Path(sysconfig.get_path("purelib")) / "ergon-dev.pth"
    line = f"{ROOT / 'python'}\n"
    if not pth.exists() or pth.read_text() != line:
        pth.write_text(line)
    write_scripts(pathlib.Path(sys.prefix) / "bin")
    command = build / "src" / "cli" / "ergon"
    if command.exists():
        copy(command, pathlib.Path(sys.prefix) / "bin" / "ergon")


def main(build_folder: str, site: str | None = None) -> None:
    build = pathlib.Path(build_folder).resolve()
    modules = sorted((build / "python" / "core").glob("_core.*.so"))
    if len(modules) != 1:
        sys.exit(f"{build} holds no extension module, or several: rm -r {build} and build again")
    if site:
        lay_out(modules[0], pathlib.Path(site))
    else:
        use_here(build, modules[0])


main(*sys.argv[1:])
