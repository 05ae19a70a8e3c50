#!/usr/bin/env bash
# Moving to and from LMDB with its own programs, in both directions.
. "$(dirname "$0")/common.sh"
command -v mdb_load >/dev/null && command -v mdb_dump >/dev/null || skip_all 'no mdb_load, mdb_dump'

data() # the entries of a dump
{
    sed '1,/^HEADER=END/d'
}

random_text 3000 3 50 400 >random
each_byte_text >bytes
kv import a.kv random -q; kv import a.kv bytes -q
kv put a.kv empty ''; kv put a.kv "$(head -c 511 /dev/zero | tr '\0' k)" v
head -c 5000000 /dev/urandom >big; kv put a.kv big - <big

# ---- to LMDB: what mdb_dump shows then is what kv exports ----
for print in '' --print; do
    rm -rf lmdb; mkdir lmdb
    # shellcheck disable=SC2086 # an option or none
    kv export a.kv --format mdb_dump $print >dump
    # db_pagesize is for Berkeley DB; mdb_load says that it does not know it
    run mdb_load -f dump lmdb; code 0
    mdb_dump lmdb >theirs
    same <(kv export a.kv --format mdb_dump | data) <(data <theirs)
done

# ---- and back ----
run kv import b.kv theirs; code 0; quiet
same <(kv export a.kv) <(kv export b.kv)
mdb_dump lmdb | kv import -q c.kv
same <(kv export a.kv) <(kv export c.kv)
# -p, for the bytes that every version of mdb_dump writes unambiguously
rm -rf plain; mkdir plain
grep -a -v '\\x5c' bytes >no-backslash
kv import d.kv no-backslash -q
kv export d.kv --format mdb_dump | mdb_load plain 2>err
mdb_dump -p plain | kv import e.kv -q
same <(kv export d.kv) <(kv export e.kv)

# ---- several databases in one file ----
kv import t.kv bytes -q --tree bytes
kv import t.kv random -q --tree 'Zufällig \41'
kv put t.kv 'in main' v
rm -rf trees; mkdir trees
kv export t.kv --format mdb_dump --all | mdb_load trees 2>err
mdb_dump -l trees | sort >out
printf '%s\n' 'Zufällig \41' bytes | sort >expected; same expected out
mdb_dump -a trees >dump
run kv import u.kv dump; code 0; quiet
for tree in bytes 'Zufällig \41'; do
    same <(kv export t.kv -t "$tree") <(kv export u.kv -t "$tree")
done
mdb_dump -s bytes trees >dump
run kv import v.kv dump; code 0
same <(kv export t.kv -t bytes) <(kv export v.kv -t bytes)
run kv import v.kv dump --tree other; code 0
same <(kv export t.kv -t bytes) <(kv export v.kv -t other)

# ---- more than the megabyte that LMDB begins with; values that fill pages badly ----
awk 'BEGIN { for (i = 0; i < 3000; i++) printf "key%06d\t%s%02100d\n", i, "x", i }' >input
kv import w.kv input -q
rm -rf large; mkdir large
kv export w.kv --format mdb_dump >dump
run mdb_load -f dump large; code 0
same <(kv export w.kv --format mdb_dump | data) <(mdb_dump large | data)
awk 'BEGIN { for (i = 0; i < 200; i++) printf "key%06d\t%0100000d\n", i, i }' >input
kv import z.kv input -q --compress 100
rm -rf large; mkdir large
kv export z.kv --format mdb_dump >dump
run mdb_load -f dump large; code 0
same <(kv export z.kv --format mdb_dump | data) <(mdb_dump large | data)

# ---- several values per key, in both directions ----
rm -rf dup again; mkdir dup again
awk 'BEGIN {
    print "VERSION=3\nformat=bytevalue\ndatabase=d\ntype=btree\nmapsize=100000000\nduplicates=1\ndupsort=1\nHEADER=END"
    srand(5)
    for (i = 0; i < 3000; i++) {
        printf " %02x%02x%s\n ", int(rand() * 3), int(rand() * 256), i % 2 ? "" : "00"
        for (k = int(rand() * 9); k >= 0; k--)
            printf "%02x", int(rand() * 256) * (rand() < 0.8)
        print ""
    }
    print "DATA=END"
}' >dump
mdb_load -f dump dup 2>err # not on a command line with -s: it would lose the flags
mdb_dump -s d dup >theirs
[ "$(grep -c '^ ' theirs)" -gt 5000 ] || fail "few pairs: $(grep -c '^ ' theirs)"
run kv import x.kv theirs; code 0; quiet
run kv trees x.kv --json; out_has '"multi":true'
[ "$(kv count x.kv --tree d)" = $(($(grep -c '^ ' theirs) / 2)) ] || fail 'another number of pairs'
same <(kv export x.kv --tree d --format mdb_dump | data) <(data <theirs)
kv export x.kv --tree d --format mdb_dump >ours
run mdb_load -f ours again; code 0
mdb_dump -s d again >back
same <(data <theirs) <(data <back)
grep -q dupsort=1 back || fail 'the flags are lost'
run kv check x.kv; code 0
# the main tree has one value for each key
grep -v '^database=' theirs >main
run kv import y.kv main; code 2; err '--tree NAME --multi'; err 'nothing was imported'
run kv count y.kv; out 0
run kv import y.kv main --tree all --multi; code 0
same <(kv export x.kv -t d 2>/dev/null) <(kv export y.kv -t all 2>/dev/null)
kv put z2.kv --tree d k v
run kv import z2.kv theirs; code 3; err 'one value for each key'
rm -f y.kv

# ---- keys that LMDB refuses: kv had warned ----
kv put y.kv '' v
run kv export y.kv --format mdb_dump; err 'mdb_load will refuse'
cp out dump; rm -rf refuse; mkdir refuse
run mdb_load -f dump refuse; code 1
kv put y2.kv t v; kv put y2.kv --tree t k v
run kv export y2.kv --format mdb_dump --all; err 'mdb_load will refuse the dump'
cp out dump; rm -rf refuse; mkdir refuse
run mdb_load -f dump refuse; code 1
printf 'k\t\nk\tv\n' | kv import y3.kv -q --tree t --multi
run kv export y3.kv --format mdb_dump --tree t; err 'mdb_load will lose'
cp out dump; rm -rf lose; mkdir lose
run mdb_load -f dump lose; code 0
[ "$(mdb_dump -s t lose | data | grep -c '^ ')" = 2 ] || fail 'mdb_load keeps empty values now'

finish
