#!/bin/sh
# The quick Python tests on a debug build of CPython (Debian's python3-dbg): assertions inside the interpreter, and
# every reference counted: debug_python.sh PYTEST-OPTIONS. Packages come from .venv when it has the same Python version.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/build-debug-python
version=$("$root/.venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
python=$(command -v "python$version-dbg" || true)
if [ -z "$python" ]; then
    echo "skipped: no python$version-dbg (Debian package python$version-dbg) beside .venv's Python $version"
    exit 0
fi
packages=$("$root/.venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
if [ ! -f "$build/build.ninja" ]; then
    meson setup "$build" "$root" -Dinterpreter="$python" -Doptimization=1 >"$root/.venv/debug-setup.log" ||
        { cat "$root/.venv/debug-setup.log"; exit 1; }
fi
ninja -C "$build" --quiet
"$root/.venv/bin/python" "$root/scripts/link_dev.py" "$build" "$build/site"
cd "$root"
PYTHONPATH=$build/site:$packages exec "$python" -X showrefcount -m pytest -q "$@"
