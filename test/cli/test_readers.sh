#!/usr/bin/env bash
# kv readers, and what kv stat says of readers: who holds which snapshot, in this process or another,
# with the rights to write the file or without; and that the dead do not count.
. "$(dirname "$0")/common.sh"

seq -f 'key%06g	some value that is long enough to fill pages' 1 20000 >input
kv import a.kv input -q

# Starts a process that keeps a snapshot: its output goes to a pipe that nobody empties.
hold() # name [command...]
{
    mkfifo "$1"
    "${@:2}" "$BUILD/kv" export a.kv >"$1" &
    holder=$!
    exec {held}<"$1"
    read -r _ <&"$held" # it has begun
}

leave() # pid descriptor
{
    local descriptor=$2
    cat <&"$descriptor" >/dev/null
    exec {descriptor}<&-
    wait "$1" || fail "the holder failed"
}

json() # filter: of the file out
{
    jq -c "$1" out
}

# ---- nobody ----
run kv readers a.kv; code 0; quiet; out 'nobody is reading this file'
run kv readers a.kv --json; code 0; quiet; out '[]'
run kv stat a.kv; code 0; out_has 'readers  none'
run kv stat a.kv --json; out_has '"readers":0,"oldest_snapshot":null,"oldest_readers":0,"held_pages":0'
run kv readers none.kv; code 3; out; err 'kv: none.kv: '
[ ! -e none.kv ] || fail 'kv readers created the file'

# ---- two of one snapshot, one of a newer one ----
hold first; first=$holder first_held=$held
hold second; second=$holder second_held=$held
kv del a.kv --prefix key01 >/dev/null
hold third; third=$holder third_held=$held
kv put a.kv new value
run kv readers a.kv; code 0; quiet
for pid in $first $second $third; do
    grep -q " $pid\$" out || fail "process $pid is not listed: $(cat out)"
done
[ "$(sed 1d out | awk '{ print $1 }' | sort -n -c 2>&1; wc -l <out)" = 4 ] || fail "$(cat out)"
run kv stat a.kv; code 0; quiet; out_has 'readers '; out_has '  pages they hold back '
if have jq; then
    run kv readers a.kv --json; code 0; quiet
    [ "$(json '[.[].process] | sort')" = "[$(printf '%s\n' $first $second $third | sort -n |
        paste -s -d ,)]" ] || fail "processes: $(cat out)"
    [ "$(json '[.[].snapshot] | .[0] == .[1] and .[1] < .[2]')" = true ] || fail "order: $(cat out)"
    [ "$(json '[.[] | .held_pages > 0] | .[0] and .[1]')" = true ] || fail "held: $(cat out)"
    [ "$(json '.[0].held_pages == .[1].held_pages')" = true ] || fail "held: $(cat out)"
    [ "$(json '[.[].guest] | any')" = false ] || fail "guests: $(cat out)"
    [ "$(json '[.[].age_ms | type] | unique')" = '["number"]' ] || fail "ages: $(cat out)"
    oldest=$(json '.[0] | [.snapshot, .held_pages]')
    run kv stat a.kv --json
    [ "$(json '[.oldest_snapshot, .held_pages]')" = "$oldest" ] || fail "$oldest: $(cat out)"
    [ "$(json '[.readers, .oldest_readers]')" = '[3,2]' ] || fail "readers: $(cat out)"
    [ "$(json '.blocked_pages >= .held_pages')" = true ] || fail "blocked: $(cat out)"
fi

# ---- the dead do not count, while others go on ----
kill -9 "$first"
wait "$first" 2>/dev/null
exec {first_held}<&-
run kv readers a.kv; code 0; quiet
grep -q " $first\$" out && fail "process $first is dead, but listed"
run kv stat a.kv --json; out_has '"readers":2,'; out_has '"oldest_readers":1,'

# ---- each sees its snapshot to the end, and is gone then ----
leave "$third" "$third_held"
run kv readers a.kv; code 0
grep -q " $third\$" out && fail "process $third is still listed"
cat <&"$second_held" >rest
exec {second_held}<&-
wait "$second" || fail 'the second reader failed'
[ "$(wc -l <rest)" = 19999 ] || fail "the second reader saw $(wc -l <rest) more entries"
run kv readers a.kv; code 0; quiet; out 'nobody is reading this file'
[ ! -e a.kv-lock ] || fail 'a side file was left'

# ---- a guest: seen by those who may write, and sees nobody ----
if may_be_guest; then
    chmod 755 .
    chmod 644 a.kv
    hold fourth guest; fourth=$holder fourth_held=$held
    kv put a.kv third value
    run kv readers a.kv; code 0; quiet; grep -q ' guest$' out || fail "no guest: $(cat out)"
    run kv readers a.kv --json; out_has '"age_ms":null,'; out_has '"process":null,"guest":true'
    run guest "$BUILD/kv" readers a.kv; code 3; out; err 'only who may write the file'
    run guest "$BUILD/kv" stat a.kv; code 0; quiet; out_has 'readers  unknown'
    run guest "$BUILD/kv" stat a.kv --json; code 0; quiet; out_has '"readers":null,'
    run guest "$BUILD/kv" put a.kv k v; code 3; err 'ermission denied'
    leave "$fourth" "$fourth_held"
    run kv readers a.kv; out 'nobody is reading this file'
    [ ! -e a.kv-lock ] || fail 'a side file was left'
fi
finish
