#!/usr/bin/env bash
# What one durable commit of one record asks of the kernel, counted from outside with strace:
#     test/bench/commit_cost.sh [kv|lmdb] [COMMITS]
#
# Prints write calls, bytes written and flushes per commit: median, 95th percentile and most. For kv
# it ends with status 1 unless the median and at least 95 % of the commits took one flush, the pages
# of one path from root to leaf and a meta block of 4 KiB, in at most three write calls.
set -eu

engine=${1:-kv}
commits=${2:-1000}
: "${SRC:=$(cd "$(dirname "$0")/../.." && pwd)}"
: "${BUILD:=$SRC/build}"

command -v strace >/dev/null || {
    echo "commit_cost.sh: strace is missing (Debian: apt-get install strace)" >&2
    exit 77
}
folder=$(mktemp -d "${TMPDIR:-/tmp}/kv-cost.XXXXXX")
trap 'rm -rf "$folder"' EXIT

calls=pwrite64,pwritev,pwritev2,write,writev,fdatasync,fsync,msync,ftruncate,fallocate
strace -f -qq -o "$folder/trace" -e trace=getppid,openat,$calls \
    "$BUILD/bench" commitcost --engines "$engine" --commits "$commits" --dir "$folder" \
    >"$folder/said"
read -r _ _ _ _ height _ page <"$folder/said"

# One line per commit: write calls, bytes, flushes. A write through a descriptor that was opened with
# O_SYNC or O_DSYNC flushes too. Each getppid ends a commit and begins the next.
awk '
    { sub(/^[0-9]+ +/, "") }
    /^openat\(/ { fd = $NF; synced[fd] = /O_D?SYNC/; next }
    /^getppid/ {
        if (marks++)
            print writes, bytes, flushes
        writes = bytes = flushes = 0
        next
    }
    /^(f|p|w)/ {
        descriptor = $0
        sub(/^[a-z0-9]*\(/, "", descriptor)
        sub(/[,)].*/, "", descriptor)
    }
    /^(pwrite|write)/ {
        writes++
        bytes += $NF
        flushes += synced[descriptor]
    }
    /^(fdatasync|fsync|msync)/ { flushes++ }
    /^(ftruncate|fallocate)/ { writes++ }
' "$folder/trace" >"$folder/commits"

awk -v engine="$engine" -v height="$height" -v page="$page" '
    function column(n, i, j, count) { # sorted copy of one column
        for (i = 1; i <= NR; i++) {
            value = row[i, n]
            for (j = i - 1; j >= 1 && sorted[j] > value; j--)
                sorted[j + 1] = sorted[j]
            sorted[j + 1] = value
        }
    }
    function show(name, n) {
        column(n)
        printf "%-12s %8d %8d %8d\n", name, sorted[int((NR + 1) / 2)], \
            sorted[int(NR * 0.95 + 0.999)], sorted[NR]
    }
    {
        row[NR, 1] = $1; row[NR, 2] = $2; row[NR, 3] = $3
        exact += $1 <= 3 && $2 == height * page + 4096 && $3 == 1
    }
    END {
        if (NR == 0) { print "commit_cost.sh: no commits seen"; exit 1 }
        printf "%s: %d durable commits of one record, tree of height %d, page %d bytes\n", \
            engine, NR, height, page
        printf "%-12s %8s %8s %8s\n", "per commit", "median", "95 %", "most"
        show("write calls", 1)
        show("bytes", 2)
        show("flushes", 3)
        if (engine != "kv")
            exit 0
        printf "%.1f %% took one flush, %d pages + one meta block of 4096, at most 3 write calls\n", \
            100 * exact / NR, height
        exit exact < 0.95 * NR
    }
' "$folder/commits"
