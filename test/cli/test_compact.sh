#!/usr/bin/env bash
# kv compact: a smaller file with the same content; what a snapshot keeps, it says.
. "$(dirname "$0")/common.sh"

seq -f 'key%06g	some value that is long enough to fill pages' 1 60000 >input
kv import a.kv input -q
kv put a.kv x y --tree other
for i in 1 2 3 4 5 6 7 8; do kv del a.kv --prefix key0"$i" >/dev/null; done
for i in 1 2 3 4; do kv del a.kv --from key00"$i"1 --to key00"$i"9 >/dev/null; done
kv scan a.kv >before
size=$(stat -c %s a.kv)
run kv compact a.kv; code 0; quiet; out_has ', now '
[ "$(stat -c %s a.kv)" -lt $((size / 2)) ] || fail "$size bytes, now $(stat -c %s a.kv)"
kv scan a.kv >after
same before after
run kv get a.kv x --tree other; out y
run kv check a.kv; code 0
run kv compact a.kv --json; code 0; out_has '"held_by":"nobody"'
run kv compact a.kv --quiet; code 0; out; quiet
run kv compact none.kv; code 3; err 'none.kv'

# a snapshot keeps pages
kv import b.kv input -q
kv snapshot create b.kv all
kv del b.kv --prefix key0 >/dev/null
run kv compact b.kv; code 0; out_has 'a snapshot keeps replaced pages; kv snapshot list'
run kv count b.kv --at all; out 60000
run kv check b.kv; code 0
kv snapshot drop b.kv all
run kv compact b.kv; code 0
[ "$(stat -c %s b.kv)" -lt 200000 ] || fail "$(stat -c %s b.kv) bytes"
finish
