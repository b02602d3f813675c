#!/bin/sh
# Makes the keys and certificates of a site with openssl (1.1.1 or newer). Never overwrites one.
#
#   keys.sh FOLDER ca                     once: ca.key, which signs the others and stays offline; ca.crt for all clients
#   keys.sh FOLDER server NAME [NAME…]    broker: server.key, server.crt for these host names or addresses
#   keys.sh FOLDER client NAME            door, lock or operator: NAME.key, NAME.crt; NAME is the user in threshold.acl
#   keys.sh FOLDER signing NAME           signatures of a door: NAME.signing.key for the door, NAME.signing.pub for locks
#
# DAYS=1825 sets how long a certificate is valid; the authority's certificate is valid four times as long.
set -eu
umask 077

usage() { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
fail() { echo "error: $*" >&2; exit 1; }
fresh() { for made in "$@"; do [ ! -e "$made" ] || fail "$made exists already; delete or move it first"; done; }

[ $# -ge 2 ] || usage
folder=$1 what=$2
shift 2
days=${DAYS:-1825}
mkdir -p "$folder"
cd "$folder"

new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

sign() { # NAME COMMON-NAME EXTENSION…: write NAME.key and NAME.crt, signed by ca.key
    name=$1 common=$2
    shift 2
    [ -r ca.key ] || fail "$PWD/ca.key is missing; make it with  $0 $PWD ca"
    fresh "$name.key" "$name.crt"
    new_key "$name.key"
    printf '%s\n' "basicConstraints=critical,CA:FALSE" "keyUsage=critical,digitalSignature" \
        "subjectKeyIdentifier=hash" "authorityKeyIdentifier=keyid" "$@" >"$name.ext"
    openssl req -new -key "$name.key" -subj "/CN=$common" -out "$name.csr"
    openssl x509 -req -in "$name.csr" -CA ca.crt -CAkey ca.key -set_serial "0x$(openssl rand -hex 16)" \
        -days "$days" -sha256 -extfile "$name.ext" -out "$name.crt" 2>/dev/null
    rm -f "$name.csr" "$name.ext"
    chmod 644 "$name.crt"
}

checked() { # fail unless $1 is usable as a user and file name
    case $1 in *[!A-Za-z0-9_.-]* | "" | .* | ca | server) fail "name '$1': use only letters, digits, - _ . and neither ca nor server" ;; esac
}

case $what in
ca)
    fresh ca.key ca.crt
    new_key ca.key
    openssl req -x509 -new -key ca.key -subj "/CN=Threshold authority" -days $((days * 4)) -sha256 -out ca.crt \
        -addext "keyUsage=critical,keyCertSign,cRLSign"
    chmod 644 ca.crt
    ;;
server)
    [ $# -ge 1 ] || usage
    names=
    for host in "$@"; do
        case $host in
        *:* | *[0-9].[0-9]*.[0-9]*.[0-9]*) names="$names,IP:$host" ;;
        *) names="$names,DNS:$host" ;;
        esac
    done
    sign server "$1" "extendedKeyUsage=serverAuth" "subjectAltName=${names#,}"
    ;;
client)
    [ $# -eq 1 ] || usage
    checked "$1"
    sign "$1" "$1" "extendedKeyUsage=clientAuth"
    ;;
signing)
    [ $# -eq 1 ] || usage
    checked "$1"
    fresh "$1.signing.key" "$1.signing.pub"
    openssl genpkey -algorithm ed25519 -out "$1.signing.key"
    openssl pkey -in "$1.signing.key" -pubout -out "$1.signing.pub"
    chmod 644 "$1.signing.pub"
    ;;
*) usage ;;
esac
