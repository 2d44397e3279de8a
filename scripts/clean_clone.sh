#!/bin/sh
# Does what a stranger does: clones into an empty folder and runs the quick tests there. Sees only what is committed.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT INT TERM
git clone -q "$root" "$place/ergon"
cd "$place/ergon"
env -u MAKEFLAGS -u MAKELEVEL make test-quick
