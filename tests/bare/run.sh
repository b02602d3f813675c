#!/usr/bin/env bash
# Run the README's two commands on a bare Debian, as an ordinary user, from a clean clone of HEAD.
#
#   run.sh            make demo, then make test
#   run.sh CMD …      another command in that clone
#   run.sh --clean    remove what was built
#
# "Bare" is a minimal Debian root with python3, python3-venv, make and git, and nothing else: no broker, no compiler, no
# browser. debootstrap makes the root, chroot enters it, and it is kept in $XDG_CACHE_HOME/threshold/bare. The clone and its
# environment are made from scratch each time. Mounts are in a separate namespace and disappear with it.
#
# SUITE in the environment: trixie (Python 3.13, the default) or bookworm (Python 3.11). Exit codes: 77 the root cannot be
# made or entered on this machine, else that of the command.
set -euo pipefail

SUITE=${SUITE:-trixie}
MIRROR=${MIRROR:-http://deb.debian.org/debian}
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/threshold/bare
ROOT=$CACHE/$SUITE
USER_INSIDE=visitor
HOME_INSIDE=/home/$USER_INSIDE
PATH=$PATH:/usr/sbin:/sbin
cd "$(dirname "$0")/../.."

stop() { printf 'bare: %s\n' "$2" >&2; exit "$1"; }

if [ "${1:-}" = --clean ]; then
    rm -rf --one-file-system "$CACHE"
    exit
fi
[ "$(id -u)" = 0 ] || stop 77 "needs root; run  sudo make test-bare"
for program in debootstrap unshare chroot git; do
    command -v "$program" >/dev/null || stop 77 "missing: $program; run  apt-get install debootstrap util-linux coreutils git"
done

unshare --mount true 2>/dev/null || stop 77 "mount namespaces are not allowed here; run on a machine that allows them"
if [ ! -e "$ROOT.ready" ]; then
    rm -rf --one-file-system "$ROOT"
    mkdir -p "$CACHE"
    debootstrap --variant=minbase --include=python3,python3-venv,make,git "$SUITE" "$ROOT" "$MIRROR" >"$ROOT.log" 2>&1 ||
        stop 77 "debootstrap failed; see $ROOT.log"
    chroot "$ROOT" useradd --create-home --shell /bin/sh "$USER_INSIDE"
    touch "$ROOT.ready"
fi
cp -L /etc/resolv.conf /etc/hosts "$ROOT/etc/"
[ -z "${PIP_CERT:-}" ] || install -D -m 644 "$PIP_CERT" "$ROOT$PIP_CERT" # for a network with its own certificate authority

rm -rf --one-file-system "${ROOT:?}$HOME_INSIDE"
mkdir -p "$ROOT$HOME_INSIDE" "$ROOT/var/cache/pip"
git -c safe.directory='*' bundle create --quiet "$ROOT.bundle" HEAD # root cannot clone a repository of another user
git clone --quiet "$ROOT.bundle" "$ROOT$HOME_INSIDE/threshold"
chroot "$ROOT" chown -R "$USER_INSIDE:" "$HOME_INSIDE" /var/cache/pip

environment=(HOME="$HOME_INSIDE" USER="$USER_INSIDE" LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/bin PIP_CACHE_DIR=/var/cache/pip)
[ -z "${PIP_CERT:-}" ] || environment+=(PIP_CERT="$PIP_CERT")
[ "$#" -gt 0 ] || set -- sh -c 'make demo && make test'
export ROOT USER_INSIDE HOME_INSIDE
# Single quotes on purpose: the script inside the namespace reads the variables exported above.
# shellcheck disable=SC2016
exec unshare --mount --propagation private bash -euc '
    mount -t proc proc "$ROOT/proc"
    mount --rbind /dev "$ROOT/dev"
    mount -t tmpfs -o mode=1777 tmpfs "$ROOT/tmp"
    exec chroot --userspec="$USER_INSIDE:$USER_INSIDE" "$ROOT" \
        env -i "$@" ' bare "${environment[@]}" sh -c 'cd "$HOME/threshold" && exec "$@"' inside "$@"
