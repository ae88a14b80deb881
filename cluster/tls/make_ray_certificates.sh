#!/bin/sh
# An authority and one certificate a node for Ray's mutual TLS (docs/tls-between-nodes.md).
#
#   make_ray_certificates.sh DIRECTORY NAME=ADDRESS ...
#
# What exists is kept; delete a node's directory to renew its certificate.
set -eu

if [ $# -lt 2 ]; then
    echo "usage: $0 DIRECTORY NAME=ADDRESS ..." >&2
    exit 2
fi
directory=$1
shift
umask 077
mkdir -p "$directory"

if [ ! -e "$directory/ca.key" ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
        -subj "/CN=slipway ray authority" -addext "basicConstraints=critical,CA:TRUE,pathlen:0" \
        -addext "keyUsage=critical,keyCertSign,cRLSign" \
        -keyout "$directory/ca.key" -out "$directory/ca.crt" 2>/dev/null
fi

for node in "$@"; do
    name=${node%%=*}
    address=${node#*=}
    if [ -z "$name" ] || [ "$name" = "$node" ] || [ -z "$address" ]; then
        echo "$node is not NAME=ADDRESS" >&2
        exit 2
    fi
    if [ -e "$directory/$name/tls.crt" ]; then
        continue
    fi
    mkdir -p "$directory/$name"
    extensions=$directory/$name/extensions
    cat >"$extensions" <<EXTENSIONS
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth,clientAuth
subjectAltName=DNS:$name,DNS:localhost,IP:$address,IP:127.0.0.1
EXTENSIONS
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" \
        -keyout "$directory/$name/tls.key" -out "$directory/$name/tls.csr" 2>/dev/null
    openssl x509 -req -in "$directory/$name/tls.csr" -CA "$directory/ca.crt" \
        -CAkey "$directory/ca.key" -CAcreateserial -days 397 -sha256 -extfile "$extensions" \
        -out "$directory/$name/tls.crt" 2>/dev/null
    rm "$directory/$name/tls.csr" "$extensions"
done
echo "wrote $directory/ca.crt and one directory a node"
