#!/bin/bash
# Runs a command beside a real systemd-journald of its own and prints what that has kept of it, an entry a line, as JSON.
#
#   tests/systemd/journal.sh COMMAND...
#
# Needs root and systemd. Nothing of this machine is changed: /run and /var/log are empty ones that end with it, and
# without a /var/log/journal the journal stays in /run. Exit codes: 2 it cannot be tried here, otherwise the command's.
set -euo pipefail
[[ $EUID == 0 && -x /lib/systemd/systemd-journald ]] || { echo "needs root and systemd-journald" >&2; exit 2; }
if [[ ${INSIDE:-} != yes ]]; then
    INSIDE=yes exec unshare --mount --fork --kill-child "$0" "$@"
fi
mount --make-rprivate / && mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/log || { echo "may not mount" >&2; exit 2; }
mkdir -p /run/log /run/systemd/journal
/lib/systemd/systemd-journald > /run/journald.log 2>&1 & JOURNALD=$!
for _ in $(seq 100); do
    [[ -S /run/systemd/journal/socket ]] && break
    sleep 0.05
done
[[ -S /run/systemd/journal/socket ]] || { cat /run/journald.log >&2; exit 2; }
"$@" >&2
kill -RTMIN+1 "$JOURNALD" # to write what it holds
for _ in $(seq 100); do
    journalctl --directory="$(echo /run/log/journal/*)" SYSLOG_IDENTIFIER=threshold --output=json --all > /run/entries
    grep -q the-end /run/entries && break
    sleep 0.05
done
cat /run/entries
kill "$JOURNALD"
