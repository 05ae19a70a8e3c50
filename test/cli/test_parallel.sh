#!/usr/bin/env bash
# Twenty short-lived commands at once store an entry each, others read, look and check: nothing is
# lost, nobody fails, and no side file is left. PARALLEL_ROUNDS (default 5) says how often.
. "$(dirname "$0")/common.sh"

rounds=${PARALLEL_ROUNDS:-5}
writers=20

# A command whose failure is put down in the file failed.
try() # command...
{
    local said=err.$BASHPID
    "$BUILD/kv" "$@" >/dev/null 2>"$said" || echo "$*: $? $(cat "$said")" >>failed
    rm -f "$said"
}

round() # number
{
    local i
    for ((i = 0; i < writers; i++)); do
        try put p.kv "$(printf 'round%03d/%02d' "$1" $i)" "value $1 $i" &
        case $((i % 4)) in
        0) try get p.kv first & ;;
        1) try stat p.kv --json & ;;
        2) try check p.kv -q & ;;
        3) try readers p.kv & ;;
        esac
    done
    wait
}

: >failed
kv put p.kv first entry
for ((n = 1; n <= rounds; n++)); do
    round $n
    [ ! -e p.kv-lock ] || fail "round $n: a side file was left"
    [ "$(kv count p.kv)" = $((n * writers + 1)) ] || fail "round $n: $(kv count p.kv) entries"
    [ ! -s failed ] || { fail "round $n: $(head -n 5 failed)"; : >failed; }
done
run kv check p.kv; code 0; quiet
[ "$(kv scan p.kv --prefix round --values-only | sort | uniq | wc -l)" = $((rounds * writers)) ] ||
    fail "values are wrong: $(kv scan p.kv | head -n 5)"

# ---- all create the file at once ----
for ((i = 0; i < writers; i++)); do
    try put new.kv "key$i" "$i" &
done
wait
[ ! -s failed ] || fail "creating: $(head -n 5 failed)"
run kv count new.kv; code 0; out $writers
run kv check new.kv; code 0
[ "$(ls -A -d new.kv*)" = new.kv ] || fail "left: $(ls -d new.kv*)"
finish
