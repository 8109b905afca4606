#!/usr/bin/env bash
# Both of the README's commands in a Debian that has nothing but Python and git: as root, or as an ordinary user with a
# home that others may not enter, who may use sudo.
#
#   sudo tests/bare_debian.sh stable user           # or: testing, bookworm, …; root
#   sudo tests/bare_debian.sh stable root demo      # only the first command
#
# It wants root and debootstrap, takes some 3 GB below ARROWETL_BARE_DIR (by default /var/tmp), and tests what is
# committed. The root is made once for each suite, and the home anew each time.
set -euo pipefail

suite=${1:?which Debian: stable, testing, …}
who=${2:?as whom: root or user}
what=${3:-both}
here=$(cd "$(dirname "$0")/.." && pwd)
place=${ARROWETL_BARE_DIR:-/var/tmp}/arrowetl-bare-$suite
mirror=http://deb.debian.org/debian

if [ ! -e "$place/made" ]; then
    rm -rf "$place"
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv,git,sudo "$suite" "$place" "$mirror"
    touch "$place/made"
fi

within() { chroot "$place" "$@"; }
leave() {
    for one in dev/shm dev/pts dev proc; do umount -l "$place/$one" 2>/dev/null || true; done
}
trap leave EXIT
mount -t proc proc "$place/proc"
mount --bind /dev "$place/dev"
mount -t devpts devpts "$place/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$place/dev/shm"
cp /etc/resolv.conf /etc/hosts "$place/etc/"
# A network with a certificate of its own is this machine's, and so the root's.
cp /etc/ssl/certs/ca-certificates.crt "$place/etc/ssl/certs/"

home=/root
if [ "$who" = user ]; then
    home=/home/someone
    within userdel --remove someone 2>/dev/null || true
    within useradd --create-home --shell /bin/bash someone
    echo 'someone ALL=(ALL) NOPASSWD: ALL' >"$place/etc/sudoers.d/someone"
    chmod 700 "$place$home"
fi
rm -rf "$place$home/arrowetl"
git clone -q "$here" "$place$home/arrowetl"
[ "$who" = root ] || within chown -R someone: "$home"

# The commands are the README's own.
readme=$here/README.md
first=$(grep -m1 -o 'python3 -m venv .venv && .*nox -s demo' "$readme")
second=$(grep -m1 -x ' *\.venv/bin/nox' "$readme" | tr -d ' ')
login=$([ "$who" = root ] && echo root || echo someone)
settings=$(env | grep -E '^(PIP_[A-Z_]+|https?_proxy|HTTPS?_PROXY|no_proxy|NO_PROXY)=' | grep -v -E '=.*/opt/' || true)

as() {
    echo "=== $suite, $who: $*"
    local began=$SECONDS status=0
    within su - "$login" -c "export $(echo $settings) LANG=C.UTF-8; cd arrowetl && $*" || status=$?
    echo "=== $suite, $who: exit $status after $((SECONDS - began)) s: $*"
    return $status
}

as "$first"
[ "$what" = demo ] || as "$second"
