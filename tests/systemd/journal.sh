#!/bin/bash
# Runs a command with a separate systemd-journald and prints the journal entries of the command, one JSON object per line.
#
#   tests/systemd/journal.sh COMMAND...
#
# Needs root and systemd. This machine is not changed: /run and /var/log are empty and removed at the end; without
# /var/log/journal the journal stays in /run. Exit codes: 2 not possible on this machine, else that of the command.
set -euo pipefail
[[ $EUID == 0 && -x /lib/systemd/systemd-journald ]] || { echo "needs root and systemd-journald" >&2; exit 2; }
if [[ ${INSIDE:-} != yes ]]; then
    INSIDE=yes exec unshare --mount --fork --kill-child "$0" "$@"
fi
mount --make-rprivate / && mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/log || { echo "mounting is not allowed here" >&2; exit 2; }
mkdir -p /run/log /run/systemd/journal
/lib/systemd/systemd-journald > /run/journald.log 2>&1 & JOURNALD=$!
for _ in $(seq 100); do
    [[ -S /run/systemd/journal/socket ]] && break
    sleep 0.05
done
[[ -S /run/systemd/journal/socket ]] || { cat /run/journald.log >&2; exit 2; }
"$@" >&2
kill -RTMIN+1 "$JOURNALD" # write buffered entries to the file
for _ in $(seq 100); do
    journalctl --directory="$(echo /run/log/journal/*)" SYSLOG_IDENTIFIER=threshold --output=json --all > /run/entries
    grep -q the-end /run/entries && break
    sleep 0.05
done
cat /run/entries
kill "$JOURNALD"
