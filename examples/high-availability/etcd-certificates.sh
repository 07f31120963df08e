#!/bin/sh
# Certificates of an etcd cluster: etcd-certificates.sh DIRECTORY NAME=ADDRESS…
# Makes ca.crt, ca.key; NAME.crt, NAME.key for each member (to other members and to clients); client.crt, client.key
# for Podwright's API servers. Run again, it keeps what is there.
set -eu
dir=$1; shift
mkdir -p "$dir"; cd "$dir"; umask 077
key() { [ -e "$1.key" ] || openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
key ca
[ -e ca.crt ] || openssl req -x509 -new -key ca.key -days 3650 -subj /CN=etcd-ca -out ca.crt
issue() { # name, subjectAltName
    [ -e "$1.crt" ] && return
    key "$1"
    openssl req -new -key "$1.key" -subj "/CN=$1" -out "$1.csr"
    printf 'extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=%s\n' "$2" > "$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -extfile "$1.ext" -out "$1.crt" \
        2>/dev/null
    rm "$1.csr" "$1.ext"
}
for member; do issue "${member%%=*}" "IP:${member#*=},IP:127.0.0.1,DNS:localhost"; done
issue client DNS:podwright
