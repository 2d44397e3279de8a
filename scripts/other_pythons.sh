#!/bin/sh
# Builds the extension module for other CPython versions, warnings being errors, and runs the quick tests with
# each ($OPTIONS are pytest's): other_pythons.sh [PYTHON …]. Without arguments: whichever of python3.11 … python3.14 run here, except .venv's.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
own=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
[ $# -gt 0 ] || set -- python3.11 python3.12 python3.13 python3.14
tested= failed=
for python in "$@"; do
    real=$("$python" -c 'import os, sys; print(os.path.realpath(sys.executable))' 2>/dev/null) || continue
    version=$("$real" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    [ "$version" != "$own" ] || continue
    build=$root/build-python$version
    if [ ! -x "$build/venv/bin/pytest" ]; then
        mkdir -p "$build"
        "$real" -m venv "$build/venv"
        "$build/venv/bin/python" -m pip install -q pytest hypothesis numpy
    fi
    if [ ! -f "$build/tree/build.ninja" ]; then
        meson setup "$build/tree" -Dinterpreter="$build/venv/bin/python" -Dwerror=true -Dtests=disabled >"$build/setup.log" ||
            { cat "$build/setup.log"; exit 1; }
    fi
    ninja -C "$build/tree" --quiet
    .venv/bin/python scripts/link_dev.py "$build/tree" "$build/site"
    echo "CPython $version:"
    # shellcheck disable=SC2086
    PYTHONPATH=$build/site "$build/venv/bin/python" -m pytest -q ${OPTIONS:-tests/python} || failed=yes
    tested="$tested $version"
done
echo "tested with CPython:${tested:- no other version is installed here}"
[ -z "$failed" ]
