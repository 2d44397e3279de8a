#!/bin/sh
# Does what a stranger does: clones into an empty folder, runs the quick tests there and the demo. Sees only what is committed.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT INT TERM
git clone -q "$root" "$place/ergon"
cd "$place/ergon"
env -u MAKEFLAGS -u MAKELEVEL make test-quick
env -u MAKEFLAGS -u MAKELEVEL make demo ARGS=--quick
test -s build/census.html
