#!/usr/bin/env bash
# What ordered, expiring and watched data cost at scale, all figures by one command:
#     test/bench/operations_at_scale.sh [ENTRIES]        10000000
#
# rank, nth and count on a tenth of the entries and on all of them; difference, backup and sweep of a
# few among all; 20 turnovers of a session store of a tenth; how soon four who watch are woken by
# 100,000 commits, or by a hundredth of ENTRIES if that is less; a file of 1 GiB made small under a
# reader and a writer, or of a size by the same measure. Each part with the seconds that it took.
#
# Needs build/bench and test_shrink (make test-programs), and some 6 GB in TMPDIR for 10 M entries.
set -euo pipefail
: "${SRC:=$(cd "$(dirname "$0")/../.." && pwd)}"
: "${BUILD:=$SRC/build}"

part()
{
    local name=$1 start=$SECONDS
    shift
    printf '==== %s\n' "$name"
    "$@"
    printf '(%d s)\n\n' $((SECONDS - start))
}

shrink()
{
    SHRINK_MIB=$1 "$BUILD/test/unit/test_shrink" | grep MiB
}

n=${1:-10000000}
tenth=$((n / 10))
commits=$((n / 100 < 100000 ? n / 100 : 100000))
mib=$((n / 9766 < 1024 ? n / 9766 : 1024))
part "rank, nth, count" "$SRC/test/bench/order.sh" "$tenth" "$n"
part "difference, backup, sweep" "$BUILD/bench" few --n "$n"
part "sessions" "$BUILD/bench" sessions --n "$tenth"
part "watching" "$BUILD/bench" watch --commits "$commits"
part "compaction under load" shrink "$mib"
