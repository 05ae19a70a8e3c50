#!/usr/bin/env bash
# kv snapshot, and --at of the commands that read.
. "$(dirname "$0")/common.sh"

printf '%s\t%s\n' a one b two c three | kv import a.kv -q
kv put a.kv x y --tree other

# ---- nothing there ----
run kv snapshot list a.kv; code 0; quiet; out 'there are no snapshots'
run kv snapshot list a.kv --json; code 0; out '[]'
run kv get a.kv a --at before; code 1; out; err 'no snapshot before; kv snapshot list'
run kv snapshot drop a.kv before; code 1; out; err 'no snapshot before'
run kv snapshot restore a.kv before; code 1; err 'no snapshot before'
run kv snapshot list none.kv; code 3; err 'none.kv'
[ ! -e none.kv ] || fail 'kv snapshot created the file'

# ---- wrong usage ----
run kv snapshot; code 2; err 'create|list|drop|restore is missing'
run kv snapshot make a.kv x; code 2; err 'make should be create|list|drop|restore'
run kv snapshot list; code 2; err 'FILE is missing'
run kv snapshot create a.kv; code 2; err 'NAME is missing'
run kv snapshot create a.kv ''; code 2; err 'the name is empty'
run kv snapshot list a.kv x; code 2; err 'list takes no name'
run kv snapshot create a.kv x --durability lazy; code 2; err 'create has no choice'
run kv get a.kv a --at ''; code 2; err '--at needs a name'
run kv put a.kv a b --at before; code 2; err 'there is no --at here'

# ---- make, read ----
run kv snapshot create a.kv before; code 0; out; quiet
run kv snapshot create a.kv before; code 1; out; err 'there is a snapshot before already'
kv put a.kv a changed
kv del a.kv b
kv put a.kv d new
kv put a.kv x z --tree other
kv put a.kv more trees --tree third
run kv snapshot create -e a.kv 'odd\xff name'; code 0
kv put a.kv last one

run kv get a.kv a --at before; code 0; quiet; out one
run kv get a.kv a; out changed
run kv get a.kv d --at before; code 1
run kv has a.kv b --at before; code 0
run kv has a.kv b; code 1
run kv count a.kv --at before; out 3
run kv scan a.kv --at before; code 0; out 'a	one' 'b	two' 'c	three'
run kv scan a.kv --at before --prefix b --reverse; out 'b	two'
run kv get a.kv x --tree other --at before; out y
run kv get a.kv more --tree third --at before; code 1; err 'no tree third'
run kv export a.kv --at before; out 'a	one' 'b	two' 'c	three'
run kv trees a.kv --at before --json; code 0; out_has '"other"'
grep -q third out && fail 'a tree of later on'
run kv count -e a.kv --at 'odd\xff name'; code 0; out 3

# ---- list ----
run kv snapshot list a.kv; code 0; quiet; out_has 'before'; out_has 'odd\xff name'
[ "$(wc -l <out)" = 3 ] || fail "$(cat out)"
run kv stat a.kv --json; out_has '"snapshots":2'
if have jq; then
    run kv snapshot list a.kv --json; code 0; quiet
    [ "$(jq -c '[.[] | .entries]' out)" = '[4,5]' ] || fail "entries: $(cat out)"
    [ "$(jq -c '.[0].name, .[1].name.hex' out | paste -s -d ' ')" = '"before" "6f6464ff206e616d65"' ] ||
        fail "names: $(cat out)"
    [ "$(jq -c '[.[] | .time_ms > 1e12, .held_bytes > 0] | all' out)" = true ] || fail "$(cat out)"
fi

# ---- copies ----
run kv copy a.kv b.kv; code 0; quiet
run kv get b.kv a --at before; out one
run kv copy a.kv c.kv --at before; code 0; quiet
run kv scan c.kv; out 'a	one' 'b	two' 'c	three'
run kv snapshot list c.kv; out 'there are no snapshots'
run kv copy a.kv d.kv --compact; code 0; err 'named snapshots that the compact copy leaves out: 2'
run kv copy a.kv - --at before; code 0; quiet
cp out e.kv
run kv check e.kv; code 0
run kv count e.kv; out 3

# ---- restore, drop ----
run kv snapshot restore a.kv before; code 0; out; quiet
run kv scan a.kv; out 'a	one' 'b	two' 'c	three'
run kv get a.kv x --tree other; out y
run kv count a.kv --tree third; code 1
run kv count -e a.kv --at 'odd\xff name'; out 3
run kv snapshot drop -e a.kv 'odd\xff name' --durability lazy; code 0; out; quiet
run kv snapshot restore -e a.kv 'odd\xff name'; code 1
run kv snapshot drop a.kv before; code 0
run kv snapshot list a.kv; out 'there are no snapshots'
run kv check a.kv; code 0
finish
