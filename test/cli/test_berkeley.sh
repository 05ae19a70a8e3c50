#!/usr/bin/env bash
# Moving to and from Berkeley DB with its own programs, in both directions.
. "$(dirname "$0")/common.sh"
for suffix in '' 5.3 4.8; do
    load=$(command -v "db${suffix}_load") && dump=$(command -v "db${suffix}_dump") && break
done
[ -n "${load-}" ] && [ -n "${dump-}" ] || skip_all 'no db_load, db_dump'

data() # the entries of a dump
{
    sed '1,/^HEADER=END/d'
}

random_text 2000 4 50 400 >random
each_byte_text >bytes
kv import a.kv random -q; kv import a.kv bytes -q
kv put a.kv '' 'empty key'; kv put a.kv empty ''
kv put a.kv "$(head -c 700 /dev/zero | tr '\0' k)" v

# ---- to Berkeley DB and back, both variants of the dump ----
for print in '' --print; do
    rm -f bdb
    # shellcheck disable=SC2086 # an option or none
    kv export a.kv --format db_dump $print >mine
    run "$load" -f mine bdb; code 0; quiet
    same <(data <mine) <("$dump" ${print:+-p} bdb | data)
    rm -f b.kv
    # shellcheck disable=SC2086
    "$dump" ${print:+-p} bdb | kv import b.kv -q
    same <(kv export a.kv) <(kv export b.kv)
done

# ---- several databases in one file, with names of any bytes ----
kv import t.kv bytes -q --tree bytes
kv import t.kv random -q -e --tree 'back\\slash \x07 \xff'
kv export t.kv --format db_dump --all >mine
run "$load" -f mine many; code 0; quiet
"$dump" many | kv import u.kv -q
same <(tree_counts t.kv) <(tree_counts u.kv)
for tree in bytes 'back\\slash \x07 \xff'; do
    same <(kv export -e t.kv -t "$tree") <(kv export -e u.kv -t "$tree")
done
# a main database beside them: refused, as kv had warned; one by one they are taken
kv put t.kv 'in main' v
run kv export t.kv --format db_dump --all; err 'db_load will refuse the dump'
cp out mine
run "$load" -f mine both; code 2
kv export t.kv --format db_dump >mine
run "$load" -f mine main; code 0; quiet
kv export t.kv --format db_dump --tree bytes >mine
run "$load" -f mine named; code 0; quiet

# ---- hash: refused, with advice that works ----
printf '%s\n' VERSION=3 format=print type=hash HEADER=END ' k' ' v' DATA=END | "$load" hash
"$dump" hash >theirs
run kv import h.kv theirs; code 3; err 'db_load -t btree'
"$load" -t btree -f theirs tree
"$dump" tree | kv import h.kv -q
run kv get h.kv k; out v

# ---- refused ----
printf '%s\n' VERSION=3 format=print type=btree duplicates=1 HEADER=END ' k' ' 1' ' k' ' 2' DATA=END |
    "$load" dup
"$dump" dup >theirs
run kv import x.kv theirs; code 2; err 'several values for each key'; err 'nothing was imported'
run kv import dup.kv theirs --tree d --multi; code 0; quiet
run kv get dup.kv k --tree d; out 1 2
kv export dup.kv --format db_dump --tree d | grep -v ^database= >ours
"$load" -f ours back
same <("$dump" back | sed '1,/^HEADER=END/d') <(sed '1,/^HEADER=END/d' theirs)
printf '%s\n' VERSION=3 format=print type=recno HEADER=END ' v' DATA=END | "$load" recno
"$dump" recno >theirs
run kv import x.kv theirs; code 3; err 'only type=btree'
"$dump" -k recno >theirs
run kv import x.kv theirs; code 3; err 'only type=btree'
run kv count x.kv; out 0

finish
