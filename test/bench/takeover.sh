#!/usr/bin/env bash
# How long after a writer was killed the next commit of another process takes, in a small file and in
# one of many GiB: opening included, no repair. And in a small file behind lazy commits, which it makes
# durable first: 56 MiB, nearly as much as there can be.
#
#     test/bench/takeover.sh [GIB] [ROUNDS]      10 GiB, 20 kills each
#
# The large file is mostly holes: zeros are stored, and their blocks given back. Environment: BUILD
# (folder with kv), TMPDIR.
set -euo pipefail

: "${SRC:=$(cd "$(dirname "$0")/../.." && pwd)}"
: "${BUILD:=$SRC/build}"
gib=${1:-10}
rounds=${2:-20}
work=$(mktemp -d "${TMPDIR:-/tmp}/kv-takeover.XXXXXX")
trap 'rm -rf "$work"' EXIT
kv=$BUILD/kv
mkfifo "$work/pipe"

make_file() # file GiB
{
    local i
    seq -f 'key%06g	some value that fills a page or two' 1 20000 | "$kv" import "$1" - -q
    for ((i = 0; i < $2 * 4; i++)); do
        head -c 256M /dev/zero | "$kv" put "$1" "large$i" -
        fallocate --dig-holes "$1"
    done
}

# Milliseconds of the commit that follows the kill of a writer in the middle of many.
one_kill() # file
{
    local writer start
    "$kv" import "$1" "$work/pipe" -q --batch 1 2>/dev/null &
    writer=$!
    exec 3>"$work/pipe"
    { while printf 'key%06d\tanother value %d\n' $((RANDOM % 20000)) $RANDOM; do :; done; } >&3 2>/dev/null &
    local feeder=$!
    exec 3>&-
    sleep 0.$((RANDOM % 3 + 1))
    kill -KILL $writer
    start=${EPOCHREALTIME/[.,]/}
    "$kv" put "$1" after "the kill"
    echo $(((${EPOCHREALTIME/[.,]/} - start + 500) / 1000))
    wait $writer 2>/dev/null || true
    kill $feeder 2>/dev/null || true
    wait $feeder 2>/dev/null || true
}

# The same behind large values that were committed lazily.
lazy_kill() # file
{
    local writer start i value
    value=$(head -c $((512 << 10)) /dev/urandom | od -An -v -tx1 | tr -d ' \n')
    rm -f "$1"
    "$kv" put "$1" before "the kill"
    "$kv" import "$1" "$work/pipe" -q --batch 8 --durability lazy 2>/dev/null &
    writer=$!
    exec 3>"$work/pipe"
    for ((i = 0; i < 56; i++)); do printf 'large%d\t%d%s\n' $i $i "$value"; done >&3
    sleep 0.3
    kill -KILL $writer
    start=${EPOCHREALTIME/[.,]/}
    "$kv" put "$1" after "the kill"
    echo $(((${EPOCHREALTIME/[.,]/} - start + 500) / 1000))
    exec 3>&-
    wait $writer 2>/dev/null || true
}

measure() # file how what
{
    local i
    for ((i = 0; i < rounds; i++)); do "$2" "$1"; done 2>/dev/null | sort -n |
        awk -v what="$3" -v rounds="$rounds" '
            { ms[NR] = $1 }
            END { printf "%s: median %d ms, worst %d ms of %d\n", what, ms[int((NR + 1) / 2)], ms[NR], NR
                  exit NR != rounds }'
    "$kv" check "$1" -q
}

size() # file
{
    printf '%12s bytes' "$(stat -c %s "$1")"
}

make_file "$work/small.kv" 0
measure "$work/small.kv" one_kill "$(size "$work/small.kv")"
measure "$work/lazy.kv" lazy_kill "  56 MiB that were lazy"
[ "$gib" != 0 ] || exit 0
make_file "$work/large.kv" "$gib"
du -h "$work/large.kv" | awk '{ print "            on the disk: " $1 }'
measure "$work/large.kv" one_kill "$(size "$work/large.kv")"
