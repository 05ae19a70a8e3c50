#!/usr/bin/env bash
# kv watch: what is printed, by whom it is ended, and that it does not keep anybody from anything.
. "$(dirname "$0")/common.sh"

# Starts a watch and waits until it watches: its read transaction is there.
watch() # output options...
{
    local output=$1 before
    shift
    before=$(kv readers "$1" --json | grep -o '"process"' | wc -l)
    "$BUILD/kv" watch "$@" >"$output" 2>"$output.err" &
    watching=$!
    for ((i = 0; i < 500; i++)); do
        [ "$(kv readers "$1" --json | grep -o '"process"' | wc -l)" -le "$before" ] || return 0
        sleep 0.02
    done
    fail "the watch did not begin: $(cat "$output.err")"
}

watched() # pid output exit-status lines
{
    wait "$1"
    ended $? 'kv watch'
    code "$3"
    [ ! -s "$2.err" ] || fail "said: $(cat "$2.err")"
    printf -- "$4" >expected
    sed 's/^[0-9]*\t//' "$2" >marks
    same marks expected
}

kv put a.kv lamp off
kv put a.kv lamps none

# ---- once: a key, a prefix, a tree, all ----
watch one a.kv lamp --once; one=$watching
watch some a.kv --prefix lamp --once; some=$watching
watch later a.kv --from m --once; later=$watching
watch colours a.kv --tree colours --once --timeout 1m; colours=$watching
kv put a.kv lamps many
watched $some some 0 '*\tlamps\tmany\n'
kv put a.kv moon full
watched $later later 0 '+\tmoon\tfull\n'
kv put a.kv lamp on
watched $one one 0 '*\tlamp\ton\n'
kv put a.kv red ff0000 --tree colours
watched $colours colours 0 '+\tcolours\n+\tred\tff0000\n'
watch all a.kv --all --once; all=$watching
kv del a.kv red --tree colours
watched $all all 0 '-\tcolours\tred\tff0000\n'

# ---- JSON, and the ids of the commits ----
watch json a.kv -t colours --json --once; json=$watching
kv put a.kv -e 'gr\xffn' 1 --tree colours
wait "$json" || fail "$(cat json.err)"
grep -q '^{"from":[0-9]*,"to":[0-9]*,"changes":\[{"change":"added","tree":"colours","key":{"hex":"6772ff6e"},"new":"1"}\]}$' \
    json || fail "json: $(cat json)"
if have jq; then
    [ "$(jq '.to - .from' json)" = 1 ] || fail "ids: $(cat json)"
    [ "$(jq .to json)" = "$(kv stat a.kv --json | jq .commit_id)" ] || fail "ids: $(cat json)"
fi

# ---- more than once, until the reader goes away ----
mkfifo pipe
"$BUILD/kv" watch a.kv lamp >pipe 2>pipe.err &
watching=$!
exec {reader}<pipe
until kv readers a.kv | grep -q " $watching\$"; do sleep 0.02; done
for value in 1 2 3; do
    kv put a.kv lamp $value
    read -r _ mark key said <&$reader
    [ "$mark $key $said" = "* lamp $value" ] || fail "said: $mark $key $said"
done
exec {reader}<&-
kv put a.kv lamp off
wait $watching
[ ! -s pipe.err ] || fail "said: $(cat pipe.err)"

# ---- tuples ----
watch tuples a.kv --tuple --prefix '("order")' --once; tuples=$watching
kv put a.kv --tuple '("order", 7)' lamp
watched $tuples tuples 0 '+\t("order", 7)\tlamp\n'

# ---- nothing happens ----
run kv watch a.kv lamp --timeout 50ms; code 1; quiet; out
run kv watch a.kv --timeout 0; code 1
run kv watch none.kv --timeout 1ms; code 3; err 'kv: none.kv: '
[ ! -e none.kv ] || fail 'kv watch created the file'
run kv watch a.kv lamp --prefix l; code 2; err 'exclude each other'
run kv watch a.kv --all --tree t; code 2; err 'exclude each other'
[ "$(echo a.kv*)" = a.kv ] || fail "left: $(echo a.kv*)"

# ---- a tree that comes without a key of the range wakes nobody ----
kv put r.kv k 1
watch woken r.kv --all --prefix zz --once
kv put r.kv --tree t a 1
kv put r.kv --tree u zz1 1
watched "$watching" woken 0 '+\tu\tzz1\t1\n'
watch woken r.kv --all --prefix zz --once --timeout 300ms
kv put r.kv --tree v a 1
watched "$watching" woken 1 ''

# ---- the file is replaced, or removed: nobody will change what is watched ----
for how in replaced removed; do
    kv put gone.kv k 1
    watch gone gone.kv --timeout 20s
    if [ $how = replaced ]; then kv put other.kv k 2; mv other.kv gone.kv; else rm gone.kv; fi
    wait "$watching"
    ended $? 'kv watch'; code 3
    cp gone.err err; err "kv: gone.kv: the file was $how meanwhile"
done

# ---- its reader has left ----
(timeout 20 "$BUILD/kv" watch r.kv; echo $? >watch_status) | head -n 1 >first &
left=$! tick=0
for _ in {1..100}; do
    kv put r.kv tick $((++tick)); sleep 0.05
    [ -s first ] && break
done
wait $left
case $(cat watch_status) in
0 | 141) ;; # it noticed by itself, or wrote once more
*) fail "watch, whose reader has left: $(cat watch_status)" ;;
esac

finish
