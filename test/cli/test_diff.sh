#!/usr/bin/env bash
# diff: between named snapshots, and up to now.
. "$(dirname "$0")/common.sh"

printf 'apple\tred\nplum\tblue\nrose\twhite\n' | kv import a.kv -q
kv put a.kv x 1 --tree gone
kv snapshot create a.kv first
kv put a.kv apple green; kv del a.kv plum; kv put -e a.kv 'pe\tar' ''
kv snapshot create a.kv second
kv put a.kv z 9 --tree new

run kv diff a.kv first second; code 0; quiet
out $'~\t\tapple\tred\tgreen' $'+\t\tpe\\tar\t' $'-\t\tplum\tblue'
run kv diff a.kv second first; code 0; quiet
out $'~\t\tapple\tgreen\tred' $'-\t\tpe\\tar\t' $'+\t\tplum\tblue'
run kv diff a.kv second; code 0; quiet
out $'>\tnew' $'+\tnew\tz\t9'
run kv diff a.kv first --tree new; code 0; out $'>\tnew' $'+\tnew\tz\t9'
run kv diff a.kv first --prefix pl --keys-only; code 0
out $'-\t\tplum'
run kv diff a.kv first --limit 1; code 0; out $'~\t\tapple\tred\tgreen'
run kv diff a.kv first first; code 0; quiet; out
run kv diff a.kv first second --json; code 0; quiet
out '{"change":"changed","tree":null,"key":"apple","old":"red","new":"green"}' \
    '{"change":"added","tree":null,"key":"pe\u0009ar","new":""}' \
    '{"change":"removed","tree":null,"key":"plum","old":"blue"}'

# sides by their commits: those of snapshots, and the newest one
commit_of() { kv snapshot list a.kv --json | grep -o "\"name\":\"$1\",\"commit_id\":[0-9]*" | sed 's/.*://'; }
first=$(commit_of first) second=$(commit_of second)
now=$(kv stat a.kv --json | grep -o '"commit_id":[0-9]*' | sed 's/.*://')
changes=$(kv diff a.kv first second)
run kv diff a.kv "$first" "$second"; code 0; quiet; out "$changes"
run kv diff a.kv "$first" second; code 0; quiet; out "$changes"
run kv diff a.kv "$now" second; code 0; quiet; out $'-\tnew\tz\t9' $'<\tnew'
run kv diff a.kv "$second" "$now"; code 0; quiet; out $'>\tnew' $'+\tnew\tz\t9'
run kv diff a.kv "$now"; code 0; quiet; out
run kv diff a.kv $((now + 1)); code 1; err "no snapshot has the name or keeps the commit $((now + 1))"
run kv diff a.kv 0; code 1; err 'keeps the commit 0'
kv snapshot create a.kv "$first" # a name counts first
run kv diff a.kv "$first"; code 0; quiet; out
kv snapshot drop a.kv second
run kv diff a.kv "$second"; code 1; err "keeps the commit $second"

run kv diff a.kv none; code 1; err 'no snapshot none'
run kv diff a.kv first none; code 1; err 'kv snapshot list'
run kv diff a.kv first --tree none; code 1; err 'neither side has a tree none'
run kv diff a.kv; code 2; err 'FROM is missing'
run kv diff a.kv ''; code 2; err 'the name is empty'
run kv diff a.kv first ''; code 2; err 'the name is empty'

# a range of keys is not about trees that come and go
kv put r.kv b1 1; kv snapshot create r.kv one; kv put r.kv --tree NEW a 1; kv put r.kv --tree OTHER b2 2
run kv diff r.kv one --prefix b; code 0; out $'+\tOTHER\tb2\t2'
run kv diff r.kv one --from z; code 0; out
run kv diff r.kv one; out_has $'>\tNEW'
finish
