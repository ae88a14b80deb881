#!/bin/sh
# Makes what cluster/compose/docker-compose.prod.yml expects under secrets/; an existing file stays.
# The certificate and its key are yours to put there (docs/operations.md).
set -eu
cd "$(dirname "$0")"
umask 022
install -d -m 0700 secrets

random() {
    # 256 bits, and nothing in it that a URL or nginx would read as something else.
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

keep() {
    if [ ! -e "secrets/$1" ]; then
        printf '%s' "$2" >"secrets/$1"
    fi
    chmod 0444 "secrets/$1"
}

keep postgres_password "$(random)"
keep valkey_password "$(random)"
keep secret_key "$(random)$(random)"
keep edge_token "$(random)"
keep ray_token "$(random)"
keep grafana_password "$(random)"
keep backup_passphrase "$(random)"
keep sentry_dsn ""
keep database_url "postgresql://slipway:$(cat secrets/postgres_password)@postgres:5432/slipway"
keep redis_url "redis://:$(cat secrets/valkey_password)@valkey:6379/0"
echo "secrets/ is complete but for tls_certificate.pem and tls_key.pem"
