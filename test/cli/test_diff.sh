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
out $'-\t\tplum' $'>\tnew'
run kv diff a.kv first --limit 1; code 0; out $'~\t\tapple\tred\tgreen'
run kv diff a.kv first first; code 0; quiet; out
run kv diff a.kv first second --json; code 0; quiet
out '{"change":"changed","tree":null,"key":"apple","old":"red","new":"green"}' \
    '{"change":"added","tree":null,"key":"pe\u0009ar","new":""}' \
    '{"change":"removed","tree":null,"key":"plum","old":"blue"}'

run kv diff a.kv none; code 1; err 'no snapshot none'
run kv diff a.kv first none; code 1; err 'kv snapshot list'
run kv diff a.kv first --tree none; code 1; err 'neither side has a tree none'
run kv diff a.kv; code 2; err 'FROM is missing'
finish
