#!/bin/sh
# Builds the extension module for other CPython versions, warnings being errors, and runs the quick tests with
# each ($OPTIONS are pytest's): other_pythons.sh [PYTHON …]. Without arguments: one of each version from 3.11 to 3.14, except .venv's,
# that is on PATH or among pyenv's. What is not there is said in a line `skipped: …`.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
own=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')

# The path of an interpreter that runs and has the headers to build with, or nothing. (A shim of pyenv may be there and not run.)
usable() {
    "$1" -c 'import os, sys, sysconfig
os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")) and print(os.path.realpath(sys.executable))' 2>/dev/null || true
}

find_version() {
    for python in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python"$1"; do
        real=$(usable "$python")
        [ -z "$real" ] || { echo "$real"; return; }
    done
}

if [ $# -eq 0 ]; then
    for version in 3.11 3.12 3.13 3.14; do
        [ "$version" != "$own" ] || continue
        real=$(find_version "$version")
        if [ -n "$real" ]; then
            set -- "$@" "$real"
        else
            echo "skipped: CPython $version is neither on PATH nor among pyenv's versions, or has no headers"
        fi
    done
fi
tested= failed=
for python in "$@"; do
    real=$(usable "$python")
    if [ -z "$real" ]; then
        echo "skipped: $python does not run, or has no headers"
        continue
    fi
    version=$("$real" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
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
echo "tested with CPython:${tested:- none but .venv's}"
[ -z "$failed" ]
