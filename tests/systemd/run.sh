#!/bin/bash
# Runs systemd/edge.service under a real systemd in separate namespaces: a sandboxed door with a network camera, a broker
# and a credential, which its watchdog kills when it hangs.
#
#   tests/systemd/run.sh [PYTHON]      Python of the environment with Threshold's packages (default: .venv/bin/python)
#
# Needs root, util-linux, Mosquitto, and a kernel that mounts cgroup version 1's name=systemd or version 2. This machine is
# not changed: /etc, /opt, /var and /run are overlays that are removed at the end. Exit codes: 0 passed, 1 failed, 2 not
# possible on this machine.
# shellcheck disable=SC2016,SC2317,SC2329  # functions called by trap and by name; variables of the inner shell
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
REPO=$(cd "$HERE/../.." && pwd)
PYTHON=${1:-$REPO/.venv/bin/python}
note() { echo "$*" >&2; }

if [[ ${INSIDE:-} != yes ]]; then
    [[ $EUID == 0 ]] || { note "starting systemd needs root; run it with sudo"; exit 2; }
    for tool in unshare nsenter mosquitto /lib/systemd/systemd; do
        command -v "$tool" > /dev/null || { note "$tool is not installed"; exit 2; }
    done
    "$PYTHON" -c "import ai_edge_litert, cv2" || { note "$PYTHON lacks Threshold's packages"; exit 2; }
    GROUP=/sys/fs/cgroup/systemd
    [[ -d $GROUP ]] || GROUP=/sys/fs/cgroup
    GROUP=$GROUP/threshold-test-$$
    WORK=$(mktemp -d)
    mkdir "$GROUP"
    finish() {
        kill -KILL "${INIT:-}" "${CAMERA:-}" "${BROKER:-}" 2> /dev/null || true
        wait 2> /dev/null || true
        find "$GROUP" -depth -type d -exec rmdir {} + 2> /dev/null || true
        rm -rf "$WORK"
    }
    trap finish EXIT
    mkdir "$WORK/var"
    printf 'listener 18830 127.0.0.1\nallow_anonymous true\n' > "$WORK/mosquitto.conf"
    mosquitto -c "$WORK/mosquitto.conf" > "$WORK/mosquitto.log" 2>&1 & BROKER=$!
    (cd "$REPO/tests" && PYTHONPATH=$REPO exec "$PYTHON" systemd/camera.py 18831) & CAMERA=$!
    BASE=$("$PYTHON" -c "import sys; print(sys.base_prefix)")
    PACKAGES=$("$PYTHON" -c "import sysconfig; print(sysconfig.get_path('purelib'))")
    bash -c 'echo $$ > "$0/cgroup.procs"; exec "$@"' "$GROUP" env -i INSIDE=yes PATH="$PATH" WORK="$WORK" BASE="$BASE" \
        PACKAGES="$PACKAGES" NAME="$(basename "$(readlink -f "$PYTHON")")" \
        unshare --mount --pid --cgroup --uts --ipc --fork --mount-proc bash "$HERE/run.sh" > "$WORK/init.log" 2>&1 &
    OUTER=$!
    for _ in $(seq 100); do
        INIT=$(pgrep -P "$OUTER" || true)
        [[ -n $INIT && $(cat "/proc/$INIT/comm") == systemd ]] && break
        kill -0 "$OUTER" 2> /dev/null || break
        sleep 0.1
    done
    [[ -n ${INIT:-} ]] || { note "systemd cannot be started here: $(tail -1 "$WORK/init.log")"; exit 2; }
    inside() { nsenter -t "$INIT" -m -p -C env SYSTEMD_UNIT_PATH=/run/units "$@"; }
    logged() { # PATTERN [FIELD=VALUE…]: journal lines with this pattern and these fields
        inside bash -c 'journalctl --directory="$(echo /run/log/journal/*)" --output=cat "$@"' - "${@:2}" | grep "$1"
    }
    expect() { # DESCRIPTION COMMAND…: wait until the command succeeds
        local what=$1
        shift
        for _ in $(seq 120); do
            if "$@" > /dev/null 2>&1; then note "ok    $what"; return; fi
            sleep 0.5
        done
        note "FAIL  $what"
        logged . >&2 || true
        exit 1
    }
    synchronised() { # the retained health report has no problem with the clock
        local health
        health=$(PYTHONPATH=$REPO timeout 15 "$PYTHON" -m edge events --broker mqtt://127.0.0.1:18830 \
            --channels health --json | grep -m1 problems) && [[ $health != *"clock is not"* ]]
    }
    twice() { (($(logged "$1" | wc -l) >= 2)); }
    shown() { inside systemctl show edge --property="$1" --value; }
    expect "the service is active" inside systemctl is-active edge
    expect "the door connects to the broker with a password that only root can read" logged "broker connected"
    expect "the sandboxed door recognises a person on a network camera" logged door-open
    expect "the journal has this event with its fields" logged door-open THRESHOLD_EVENT=door-open THRESHOLD_DOOR=front
    expect "the clock counts as set because timesyncd reports it" synchronised
    FIRST=$(shown MainPID)
    for limit in Seccomp:.2 NoNewPrivs:.1 CapEff:.0000000000000000; do
        expect "$limit" inside grep -Eq "^${limit}" "/proc/$FIRST/status"
    done
    inside kill -STOP "$FIRST"
    expect "the watchdog kills the hanging door" inside bash -c "! kill -0 $FIRST"
    expect "the door is restarted" inside bash -c 'systemctl show edge -p NRestarts | grep =1 && systemctl is-active edge'
    expect "the restarted door recognises the person" twice door-open
    inside systemctl stop edge
    expect "the door stops with exit code 0" inside bash -c 'systemctl show edge -p ExecMainStatus | grep =0$'
    exit 0
fi

# Inside the namespaces: a machine that runs only the door.
mount --make-rprivate /
REPO_COPY=/opt/threshold/source
mount -t tmpfs tmpfs /run
mkdir -p /run/units /run/over /run/systemd/timesync
touch /run/systemd/timesync/synchronized
for folder in etc opt var; do
    mkdir "/run/over/$folder" "/run/over/$folder.work"
    mount -t overlay overlay -o "lowerdir=/$folder,upperdir=/run/over/$folder,workdir=/run/over/$folder.work" "/$folder"
done
if [[ -d /sys/fs/cgroup/systemd ]]; then
    umount -R -l /sys/fs/cgroup
    mount -t tmpfs cgroup /sys/fs/cgroup
    mkdir /sys/fs/cgroup/systemd
    mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
else
    umount -R -l /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
mkdir -p /opt/python /opt/packages "$REPO_COPY" /etc/threshold
mount --bind "$BASE" /opt/python
mount --bind "$PACKAGES" /opt/packages
mount --bind "$REPO" "$REPO_COPY"
echo "threshold:x:949:949::/var/lib/threshold:/usr/sbin/nologin" >> /etc/passwd
echo "threshold:x:949:" >> /etc/group
cat > /etc/threshold/door.toml << 'TOML'
site = "test"
door = "front"
gallery = "/opt/threshold/source/edge/demo/gallery.safetensors"
[camera]
source = "http://127.0.0.1:18831/video.mjpg"
[mqtt]
url = "mqtt://127.0.0.1:18830"
username = "front"
password_file = "credential:mqtt-password"
TOML
(umask 077 && echo secret > /etc/threshold/mqtt-password)
sed -e "s|^ExecStart=/opt/threshold/venv/bin/edge|ExecStart=/opt/python/bin/$NAME -m edge|" \
    -e "s|^#LoadCredential=mqtt-password|LoadCredential=mqtt-password|" -e "s|^WatchdogSec=.*|WatchdogSec=5s|" \
    "$REPO/systemd/edge.service" > /run/units/edge.service
mkdir /run/units/edge.service.d
cat > /run/units/edge.service.d/test.conf << 'CONF'
[Service]
Environment=PYTHONPATH=/opt/packages:/opt/threshold/source PYTHONDONTWRITEBYTECODE=1 LD_LIBRARY_PATH=/opt/python/lib
TimeoutAbortSec=2s
CONF
for target in sysinit basic shutdown network time-set multi-user test; do
    printf '[Unit]\nDescription=%s\nDefaultDependencies=no\n' "$target" > "/run/units/$target.target"
done
echo "Wants=edge.service" >> /run/units/test.target
mkdir -p /run/log /run/systemd/journal
/lib/systemd/systemd-journald &
for _ in $(seq 100); do
    [[ -S /run/systemd/journal/stdout ]] && break
    sleep 0.05
done
mount --make-rshared / # credentials are mounted in a child namespace and must be visible here
export container=other SYSTEMD_UNIT_PATH=/run/units
exec /lib/systemd/systemd --system --unit=test.target --log-target=console --show-status=no
