#!/usr/bin/env bash
# Seeded bugs (src/mutant.h): the crash recorder must notice each of them within a minute, and nothing
# without one. Prints a table: the bug, how long it lived, what gave it away.
set -u

: "${SRC:=$(cd "$(dirname "$0")/../.." && pwd)}"
: "${CC:=cc}"
states=60000
seconds=60
scratch=$(mktemp -d "${TMPDIR:-/tmp}/kv-mutants.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

[ -z "${VARIANT:-}" ] || { echo "seeded bugs are looked for in a build of their own"; exit 77; }
cd "$SRC" || exit 1
make -j2 CC="$CC" VARIANT=mutants TESTS=crash/test_crash test-programs >"$scratch/build" 2>&1 ||
    { cat "$scratch/build"; exit 1; }

# The names of the bugs, in the order of their numbers, which begin at 1.
mapfile -t names < <(sed -n 's/^    KVI_MUTANT_\([A-Z_]*\),.*/\1/p' src/mutant.h)
failed=0

run() # number
{
    KV_MUTANT=$1 KV_SEED=1 CRASH_STATES=$states CRASH_FIRST=1 \
        timeout $seconds build/mutants/test/crash/test_crash >"$scratch/log" 2>&1
}

# The line that says what went wrong.
evidence()
{
    grep -a -m 1 -B 1 '^CRASH_REPLAY' "$scratch/log" | head -n 1 | grep -a . ||
        grep -a -m 1 'while recording\|signal' "$scratch/log"
}

for number in "${!names[@]}"; do
    start=${EPOCHREALTIME/[.,]/}
    run "$number"
    status=$?
    micros=$((${EPOCHREALTIME/[.,]/} - start))
    verdict=caught
    if [ "$number" = 0 ]; then
        verdict=clean
        [ $status = 0 ] || verdict='FAILS' failed=1
    elif [ $status = 0 ] || [ $status = 124 ]; then
        verdict='LIVES' failed=1
    fi
    printf '%-6s  %-20s %3d.%02d s  %s\n' "$verdict" "${names[$number]}" $((micros / 1000000)) \
        $((micros / 10000 % 100)) "$(evidence | cut -c 1-90)"
done

[ "${#names[@]}" -ge 16 ] || { echo "only ${#names[@]} bugs were found in src/mutant.h"; exit 1; }
exit $failed
