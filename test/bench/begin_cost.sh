#!/usr/bin/env bash
# What the begin and end of a read transaction in a shared file ask of the kernel and the processor:
#     test/bench/begin_cost.sh [kv|lmdb]
#
# Prints system calls, counted by strace, and instructions, counted by callgrind as the difference of two
# runs of different length. For kv it ends with status 1 unless there was no system call.
set -eu

engine=${1:-kv}
: "${SRC:=$(cd "$(dirname "$0")/../.." && pwd)}"
: "${BUILD:=$SRC/build}"

command -v strace >/dev/null || {
    echo "begin_cost.sh: strace is missing (Debian: apt-get install strace)" >&2
    exit 77
}
folder=$(mktemp -d "${TMPDIR:-/tmp}/kv-cost.XXXXXX")
trap 'rm -rf "$folder"' EXIT
begins=10000

strace -f -qq -o "$folder/trace" \
    "$BUILD/bench" begincost --engines "$engine" --commits "$begins" --dir "$folder"
calls=$(awk '/getppid/ { marks++; next } marks == 1' "$folder/trace" | wc -l)
marks=$(grep -c getppid "$folder/trace")
[ "$marks" = 2 ] || { echo "begin_cost.sh: $marks marks seen instead of 2"; exit 1; }
echo "$engine: $begins times begin and end of a read transaction: $calls system calls"

instructions() # times
{
    rm -f "$folder"/callgrind.* # one for each process
    valgrind --tool=callgrind --callgrind-out-file="$folder/callgrind.%p" \
        "$BUILD/bench" begincost --engines "$engine" --commits "$1" --n 10 --dir "$folder" \
        >"$folder/said" 2>&1
    awk '/^summary:/ { sum += $2 } END { print sum }' "$folder"/callgrind.*
}

if command -v valgrind >/dev/null; then
    few=$(instructions 1000)
    many=$(instructions 11000)
    each=$(((many - few) / 10000))
    [ "$each" -gt 0 ] || each="an unknown number of" # not every engine runs under valgrind
    echo "$engine: $each instructions each"
else
    echo "$engine: instructions not counted, valgrind is missing"
fi
[ "$engine" != kv ] || [ "$calls" = 0 ]
