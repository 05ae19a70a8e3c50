#!/usr/bin/env bash
# Rank, nth and range count in kv and in Redis' sorted set, on 1 M and 10 M entries:
#     test/bench/order.sh [ENTRIES...]
#
# Needs build/bench and redis-server (Debian's), which is started without network and without saving,
# and answers on a Unix socket. kv is in the asking process. Without Redis kv is measured alone.
set -eu
: "${SRC:=$(cd "$(dirname "$0")/../.." && pwd)}"
: "${BUILD:=$SRC/build}"
folder=$(mktemp -d "${TMPDIR:-/tmp}/kv-order.XXXXXX")
server=''
end()
{
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$folder"
}
trap end EXIT

[ $# -gt 0 ] || set -- 1000000 10000000
for n in "$@"; do
    redis=()
    if command -v redis-server >/dev/null; then
        redis-server --port 0 --unixsocket "$folder/socket" --save '' --appendonly no \
            --dir "$folder" >"$folder/log" &
        server=$!
        for ((i = 0; i < 100; i++)); do
            [ ! -S "$folder/socket" ] || break
            sleep 0.1
        done
        redis=(--redis "$folder/socket")
    else
        echo 'skip: no redis-server'
    fi
    "$BUILD/bench" order --n "$n" "${redis[@]}"
    [ -z "$server" ] || kill "$server"
    [ -z "$server" ] || wait "$server" || true
    server=''
    rm -f "$folder/socket"
done
