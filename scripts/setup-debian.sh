#!/bin/sh
# Installs the Debian packages listed in $1 that are missing: as root, or through sudo where that works
# without a question. Does nothing when all are there. On other systems it only says what it looked for.
# With --optional first, what cannot be installed is named and the script succeeds.
set -eu

optional=
if [ "$1" = --optional ]; then
    optional=yes
    shift
fi

list=$1
wanted=$(sed 's/#.*//' "$list" | tr -s ' \n' ' ')

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "Not a Debian system: please see to these packages, or what they are called here:" >&2
    echo "  $wanted" >&2
    exit 0
fi

missing=
for package in $wanted; do
    status=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
    case $status in
    *" installed") ;;
    *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root=sudo
elif [ -n "$optional" ]; then
    echo "note: without these Debian packages some tests are skipped:$missing" >&2
    exit 0
else
    echo "These Debian packages are missing, and installing them needs root:" >&2
    echo "    su -c 'apt-get install$missing'" >&2
    echo "Run that, then make again." >&2
    exit 1
fi

echo "installing Debian packages:$missing"
export DEBIAN_FRONTEND=noninteractive

# Tests start daemons of their own (sshd on loopback); installing one must not start the system's.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null && $as_root chmod 755 "$policy"
    trap '$as_root rm -f "$policy"' EXIT
fi

install_missing() {
    # shellcheck disable=SC2086
    $as_root apt-get install -y -q --no-install-recommends $missing
}

# The package lists may be missing (a fresh image) or old: update them when installing fails, and try once more.
install_missing >/dev/null 2>&1 || {
    $as_root apt-get update -q && install_missing
} || {
    [ -n "$optional" ] || exit 1
    echo "note: could not be installed, some tests are skipped:$missing" >&2
}

case $missing in
*openssh-server*)
    if command -v systemctl >/dev/null 2>&1; then
        $as_root systemctl disable -q ssh.service ssh.socket 2>/dev/null || true
    fi
    ;;
esac
