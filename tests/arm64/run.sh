#!/usr/bin/env bash
# Install the project on arm64 as on a Raspberry Pi, under emulation, and test it there.
#
#   run.sh                    the golden events of the bundled clip, then the tests named below
#   run.sh tests/test_x.py …  the golden events, then these tests (arguments of pytest)
#   run.sh --enter CMD …      another command inside, with /opt/threshold/venv/bin first on its PATH
#   run.sh --count CMD …      the same, and count its arm64 instructions; needs gcc and Debian's qemu-user
#   run.sh --clean            remove what was built
#
# debootstrap makes a Debian root, chroot enters it, and qemu's user emulation runs it. The project and its dependencies
# are installed from wheels only. Everything is kept in $XDG_CACHE_HOME/threshold/arm64, so a second run is short and an
# interrupted one is resumed. Mounts are in a separate namespace and disappear with it. If the kernel has no handler for
# arm64 programs, one is registered during the run.
#
# SUITE=trixie in the environment uses Debian trixie (Python 3.13), without the constraints of bookworm. PYTHON is the
# host's Python that builds the wheel. Exit codes: 0 done, 1 failed, 2 a requirement is missing.
set -euo pipefail

SUITE=${SUITE:-bookworm}
QEMU_CPU=${QEMU_CPU:-cortex-a72} # processor of a Raspberry Pi 4
MIRROR=${MIRROR:-http://deb.debian.org/debian}
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/threshold/arm64
ROOT=$CACHE/$SUITE
HOME_INSIDE=/opt/threshold
# Tests that run inside, in addition to the golden events: from the models to the access rules, storage, events and signed
# releases. Only on the host: desktop tools, connections, the daemon, and the other replays, which take minutes each
# under emulation.
TESTS=(tests/{vision/test_stages,vision/test_tracker,vision/test_motion,events/test_schema,updates/test_{boot,store,tuf_client,updater,worker}}.py tests/{core,recognition,access,outbox})
TEST_PACKAGES=(pytest hypothesis amqtt)
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
BINFMT=/proc/sys/fs/binfmt_misc
PATH=$PATH:/usr/sbin:/sbin
# First bytes of an arm64 program, and the mask of the bits that are compared: e_ident, e_type (EXEC or DYN), e_machine (183).
ELF='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
ELF_MASK='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'

note() { printf '%s\n' "arm64: $*" >&2; }
stop() { note "$2"; exit "$1"; }

check_tools() {
    local missing=() packages=()
    need() { [[ -e $1 ]] || command -v "$1" >/dev/null || { missing+=("$1"); packages+=("$2"); }; }
    need debootstrap debootstrap
    need "$KEYRING" debian-archive-keyring
    [[ $(uname -m) == aarch64 ]] || need qemu-aarch64-static qemu-user-static
    need unshare util-linux
    [[ $1 != --count ]] || { need gcc gcc; need qemu-aarch64 qemu-user; }
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || { missing+=("a $PYTHON with venv"); packages+=(python3-venv); }
    ((${#missing[@]} == 0)) || stop 2 "missing: ${missing[*]}; run  apt-get install ${packages[*]}"
    ((EUID == 0)) || stop 2 "needs root; run  sudo make test-arm64"
}

know_arm64() {
    [[ $(uname -m) != aarch64 ]] || return 0
    [[ -e $BINFMT/register ]] || mount -t binfmt_misc binfmt_misc "$BINFMT" 2>/dev/null ||
        stop 2 "binfmt_misc is missing or cannot be mounted here; run on a machine that has it"
    ! grep -qs '^flags:.*F' "$BINFMT/qemu-aarch64" || return 0
    trap '{ echo -1 >"$BINFMT/threshold-aarch64"; } 2>/dev/null || :' EXIT
    [[ ! -e $BINFMT/threshold-aarch64 ]] || return 0 # registered by a run that was killed
    # F: the kernel opens the interpreter now, so it does not have to exist inside the root.
    printf ':threshold-aarch64:M::%s:%s:%s:OCF' "$ELF" "$ELF_MASK" "$(command -v qemu-aarch64-static)" \
        >"$BINFMT/register" || stop 2 "$BINFMT/register cannot be written; run on a machine where root can write it"
}

build_root() {
    [[ ! -e $ROOT/.complete ]] || return 0
    note "making Debian $SUITE for arm64 in $ROOT; this takes some minutes"
    rm -rf --one-file-system "$ROOT"
    mkdir -p "$CACHE/debs"
    debootstrap --foreign --arch=arm64 --variant=minbase --include=ca-certificates,python3,python3-venv \
        --keyring="$KEYRING" --cache-dir="$CACHE/debs" "$SUITE" "$ROOT" "$MIRROR" >"$CACHE/$SUITE.log" 2>&1 ||
        stop 1 "debootstrap failed; see $CACHE/$SUITE.log"
    mkdir -p "$ROOT/etc/dpkg/dpkg.cfg.d"
    echo force-unsafe-io >"$ROOT/etc/dpkg/dpkg.cfg.d/unsafe-io"
    chroot "$ROOT" /debootstrap/debootstrap --second-stage >>"$CACHE/$SUITE.log" 2>&1 ||
        stop 1 "the second stage of debootstrap failed; see $CACHE/$SUITE.log"
    touch "$ROOT/.complete"
}

# Show XNNPACK the processor of a Raspberry Pi 4 instead of the host's. If it finds no processor description, XNNPACK is
# disabled silently.
pretend_processor() {
    local processor
    mkdir -p "$ROOT/sys/devices/system/cpu"
    echo 0-3 | tee "$ROOT/sys/devices/system/cpu/possible" >"$ROOT/sys/devices/system/cpu/present"
    for processor in 0 1 2 3; do
        printf '%s\t: %s\n' processor "$processor" BogoMIPS 108.00 Features "fp asimd evtstrm crc32 cpuid" \
            "CPU implementer" 0x41 "CPU architecture" 8 "CPU variant" 0x0 "CPU part" 0xd08 "CPU revision" 3
        echo
    done >"$ROOT/opt/cpuinfo"
    mount --bind "$ROOT/opt/cpuinfo" "$ROOT/proc/cpuinfo"
}

mount_inside() {
    mkdir -p "$ROOT/dev/shm" "$ROOT/wheels" "$ROOT/root/.cache/pip" "$CACHE/pip"
    mount -t proc proc "$ROOT/proc"
    [[ $(uname -m) == aarch64 ]] || pretend_processor
    mount -t tmpfs -o mode=1777 tmpfs "$ROOT/dev/shm"
    mount -t tmpfs -o mode=1777 tmpfs "$ROOT/tmp"
    mount --bind "$CACHE/wheel" "$ROOT/wheels"
    mount --bind "$CACHE/pip" "$ROOT/root/.cache/pip"
    cp --dereference /etc/resolv.conf "$ROOT/etc/resolv.conf"
    cp --dereference /etc/ssl/certs/ca-certificates.crt "$ROOT/etc/ssl/certs/host.crt" # including local certificate authorities
}

enter() {
    chroot "$ROOT" /usr/bin/env -i --chdir="$HOME_INSIDE" HOME=/root LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 QEMU_CPU="$QEMU_CPU" \
        PATH="$HOME_INSIDE/venv/bin:/usr/bin:/bin" PIP_CERT=/etc/ssl/certs/host.crt PIP_DISABLE_PIP_VERSION_CHECK=1 \
        ${PIP_INDEX_URL+PIP_INDEX_URL="$PIP_INDEX_URL"} ${https_proxy+https_proxy="$https_proxy"} "$@"
}

build_wheel() {
    rm -rf "$CACHE/wheel"
    [[ -e $CACHE/host/bin/pip ]] || "$PYTHON" -m venv "$CACHE/host"
    "$CACHE/host/bin/python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$CACHE/wheel" . ||
        stop 1 "the project's wheel cannot be built"
}

install_project() {
    local constraints=() wheel key
    wheel=$(basename "$CACHE"/wheel/*.whl)
    mkdir -p "$ROOT$HOME_INSIDE"
    rm -rf "$ROOT$HOME_INSIDE"/{tests,tools,systemd,docs}
    cp -r tests tools systemd docs pyproject.toml README.md "$ROOT$HOME_INSIDE"
    [[ $SUITE != bookworm ]] || constraints=(-c systemd/constraints-bookworm.txt)
    key=$(unzip_metadata "$CACHE/wheel/$wheel" | cat - systemd/constraints-bookworm.txt <(echo "${TEST_PACKAGES[@]}") |
        sha256sum)
    if [[ $(cat "$ROOT$HOME_INSIDE/installed" 2>/dev/null) == "$key" ]]; then
        enter pip install --quiet --no-deps --force-reinstall "/wheels/$wheel"
    else
        note "installing from wheels only"
        rm -rf "$ROOT$HOME_INSIDE"/{venv,installed}
        enter python3 -m venv venv
        enter pip install --quiet --only-binary :all: "${constraints[@]}" "/wheels/$wheel" "${TEST_PACKAGES[@]}" ||
            stop 1 "the project cannot be installed from wheels alone"
        echo "$key" >"$ROOT$HOME_INSIDE/installed"
    fi
}

unzip_metadata() {
    "$PYTHON" -c '
import sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
(name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
print(*[line for line in archive.read(name).decode().splitlines() if line.startswith("Requires")], sep="\n")' "$1"
}

# Fail if XNNPACK is not in use: TFLite's own kernels would run silently, and they round differently.
check_xnnpack() {
    enter python -c 'from ai_edge_litert.interpreter import Interpreter
from edge.vision.manifest import default_folder
Interpreter(str(default_folder() / "embedder.tflite")).allocate_tensors()' 2>&1 | grep -q "Created.*XNNPACK" ||
        stop 1 "XNNPACK does not run the models here, so the results would not apply to a board"
}

golden_events() {
    local demo
    demo=$(enter python -c 'from edge.demo.run_demo import FOLDER; print(FOLDER)')
    enter edge replay "$demo/door.mp4" --gallery "$demo/gallery.safetensors" --expect "$demo/expected.jsonl" --json \
        >"$CACHE/$SUITE.jsonl" || stop 1 "the events on arm64 differ from edge/demo/expected.jsonl"
    if diff edge/demo/expected.jsonl "$CACHE/$SUITE.jsonl" >&2; then
        note "golden events: the same bytes as committed"
    else
        note "golden events: the same, with other figures: < as committed, > on arm64"
    fi
}

# Only Debian's dynamic qemu supports plugins. The host's libraries are in other folders than those of arm64, so both fit
# into one root.
count() {
    local library program
    library=/lib/$(gcc -print-multiarch)
    gcc -O2 -shared -fPIC -o "$CACHE/count.so" tests/arm64/count.c
    program=$(enter which "$1") || stop 2 "$1: no such command inside"
    mkdir -p "$ROOT/host" "$ROOT/usr/lib64" "$ROOT/usr$library"
    ln -sfn usr/lib64 "$ROOT/lib64"
    mount --bind /lib64 "$ROOT/usr/lib64"
    mount --bind "$library" "$ROOT/usr$library"
    install "$(command -v qemu-aarch64)" "$CACHE/count.so" "$ROOT/host"
    enter /host/qemu-aarch64 -plugin /host/count.so -d plugin "$program" "${@:2}"
}

main() {
    build_root
    mount_inside
    install_project
    case ${1:-} in
        --enter) enter "${@:2}" ;;
        --count) count "${@:2}" ;;
        *)
            check_xnnpack
            golden_events
            # This profile sets no deadline for an example.
            enter python -m pytest -p no:cacheprovider --hypothesis-profile=ci "${@:-${TESTS[@]}}"
            ;;
    esac
}

cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python3}
if [[ ${1:-} == --clean ]]; then
    rm -rf --one-file-system "$CACHE"
elif [[ ${1:-} == --help ]]; then
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
elif [[ ${ARM64_INSIDE:-} == yes ]]; then
    know_arm64
    trap 'exit 1' INT TERM
    main "$@" <&0 & # in the background, so that signals are handled immediately; all other processes end with this one
    wait $!
else
    check_tools "${1:-}"
    mkdir -p "$CACHE"
    exec 9>/run/lock/threshold-arm64 # one run at a time: the kernel's handler is shared
    flock --nonblock 9 || stop 1 "another run is under way on this machine"
    build_wheel
    export PYTHON
    ARM64_INSIDE=yes exec unshare --mount --pid --fork --kill-child --mount-proc nice -n 10 bash "$0" "$@"
fi
