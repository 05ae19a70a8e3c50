#!/usr/bin/env bash
# Dumps: both variants, several databases, and what is refused. The programs that such dumps come
# from have tests of their own.
. "$(dirname "$0")/common.sh"

section() # header lines... ; data on standard input
{
    printf 'VERSION=3\n'
    printf '%s\n' "$@"
    printf 'HEADER=END\n'
    cat
    printf 'DATA=END\n'
}

# ---- reading ----
printf ' %s\n' a 'v\\w' 'k\00\ff' ' two ' '' empty 'no value' '' | section format=print type=btree >p
run kv import a.kv p; code 0; quiet; out_has 'imported 4 entries'
printf ' %s\n' 61 765c77 6B00Ff 2074776f20 '' 656d707479 6e6f2076616c7565 '' |
    section format=bytevalue type=btree mapsize=1048576 maxreaders=126 db_pagesize=4096 >b
run kv import b.kv b; code 0; quiet
printf '%s\n' $'\tempty' $'a\tv\\\\w' $'k\\x00\\xff\t two ' $'no value\t' | LC_ALL=C sort >expected
for file in a b; do
    kv export $file.kv | LC_ALL=C sort >out
    same expected out
done
section type=btree </dev/null >empty
run kv import c.kv empty; code 0; out_has 'imported 0 entries'
run kv import c.kv b --format mdb_dump; code 0
run kv import c.kv p --format db_dump; code 0
run kv count c.kv; out 4

# ---- writing ----
run kv export a.kv --format mdb_dump; code 0; err 'warning: 1 key is empty'
sed -n '/HEADER=END/,$p' out >data
printf '%s\n' HEADER=END ' ' ' 656d707479' ' 61' ' 765c77' ' 6b00ff' ' 2074776f20' \
    ' 6e6f2076616c7565' ' ' DATA=END >expected
same expected data
out_has VERSION=3; out_has format=bytevalue; out_has type=btree; out_has mapsize=
run kv export a.kv --format db_dump --print; code 0; quiet
sed -n '/HEADER=END/,$p' out >data
printf '%s\n' HEADER=END ' ' ' empty' ' a' ' v\\w' ' k\00\ff' '  two ' ' no value' ' ' DATA=END >expected
same expected data
grep -q mapsize out && fail 'db_load would refuse mapsize'

# ---- round trips, several trees ----
random_text 500 2 60 200 >random
each_byte_text >bytes
kv import m.kv random -q; kv import m.kv bytes -q -t 'bytes'
kv import m.kv bytes -q -e -t 'with \\ and \xff'; kv put m.kv k v -t t; kv del m.kv k -t t
for format in mdb_dump db_dump; do
    for print in '' --print; do
        # shellcheck disable=SC2086 # an option or none
        run kv export m.kv --format $format $print --all; code 0
        [ $format = mdb_dump ] || err 'warning: Berkeley DB has no file with a main database and named ones'
        cp out "all.$format"
        rm -f n.kv
        run kv import n.kv "all.$format"; code 0; quiet
        same <(kv export m.kv) <(kv export n.kv)
        same <(tree_counts m.kv) <(tree_counts n.kv)
        for tree in bytes 'with \\ and \xff' t; do
            same <(kv export -e m.kv -t "$tree") <(kv export -e n.kv -t "$tree")
        done
    done
done
run kv export m.kv --format mdb_dump --tree bytes; out_has database=bytes
cp out bytes.dump
run kv import o.kv bytes.dump --tree elsewhere; code 0
same <(kv export m.kv -t bytes) <(kv export o.kv -t elsewhere)
run kv export m.kv --format mdb_dump --from a --limit 2; code 0
[ "$(grep -c '^ ' out)" = 4 ] || fail 'a range was not exported alone'
run kv import p.kv all.mdb_dump --tree one; code 2; err 'a second database begins'; err 'nothing'
run kv count p.kv; out 0
kv put -e m.kv k v --tree 'new\nline'
run kv export -e m.kv --format mdb_dump --tree 'new\nline'; code 3; err '--format db_dump can'
run kv export -e m.kv --format db_dump --tree 'new\nline'; code 0; out_has 'database=new\0aline'
run kv export m.kv --all; code 2; err '--format'
run kv export m.kv --print; code 2; err '--format'
run kv export m.kv --format db_dump --all --tree t; code 2
kv put main-only.kv k v
run kv export main-only.kv --format mdb_dump --all; code 0
[ "$(grep -c VERSION out)" = 1 ] || fail 'one tree, one section'

# ---- keys that LMDB cannot take ----
kv put fit.kv "$(head -c 511 /dev/zero | tr '\0' k)" v
run kv export fit.kv --format mdb_dump; code 0; quiet
kv put fit.kv "$(head -c 512 /dev/zero | tr '\0' k)" v; kv put fit.kv '' v
run kv export fit.kv --format mdb_dump; code 0; err 'warning: 2 keys'
run kv export fit.kv --format db_dump; code 0; quiet
printf 'k\t%0512d\nk\t%0511d\nk\t\n' 1 2 | kv import fit.kv -q --tree many --multi
run kv export fit.kv --format mdb_dump --tree many; code 0
err 'warning: 1 value is longer than 511 bytes, in a tree of several'; err 'warning: 1 value is empty'
grep -q 'key is' err && fail 'the keys are fine'
run kv export fit.kv --format db_dump --tree many; code 0; quiet
name=$(head -c 511 /dev/zero | tr '\0' n)
kv put names.kv k v --tree "$name"
run kv export names.kv --format mdb_dump --tree "$name"; code 0; quiet
kv put names.kv k v --tree "${name}n"
run kv export names.kv --format mdb_dump --tree "${name}n"; code 3; err '--format db_dump can'
kv put clash.kv t v; kv put clash.kv k v --tree t; kv put clash.kv t v --tree u
run kv export clash.kv --format mdb_dump --all; code 0; err 'warning: t is a tree and a key of the main tree'
kv del clash.kv t
kv put clash.kv other v
run kv export clash.kv --format mdb_dump --all; code 0; quiet
kv del clash.kv other
run kv export clash.kv --format db_dump --all; code 0; quiet

# ---- refused, with nothing imported ----
refused() # message header-line...
{
    local message=$1
    shift
    printf ' 61\n 62\n' | section format=bytevalue "$@" >dump
    rm -f x.kv
    run kv import x.kv dump --format mdb_dump; code 3; err "$message"; err 'nothing was imported'
    run kv count x.kv; out 0
}
refused 'db_load -t btree' type=hash
refused 'only type=btree' type=recno
refused 'only type=btree' type=queue
refused 'only type=btree' type=sometype
refused 'db_dump -k' keys=0
refused 'known are bytevalue and print' format=base64
refused 'only 3 is known' VERSION=4
refused "no line of a dump's header" nonsense
printf ' 61\n 62\n' | section type=btree integerkey=1 >dump
run kv import x.kv dump; code 0; err 'warning: integerkey=1'

# several values for each key: --multi makes a tree, and cannot change one
printf ' 61\n 62\n' | section database=d duplicates=1 dupsort=1 >dump
run kv import several.kv dump --tree m; code 2; err '--tree NAME --multi makes a tree for it'
kv put several.kv k v --tree m
run kv import several.kv dump --tree m; code 2
err 'tree m has one value for each key; choose another --tree with --multi'; err 'nothing was imported'
run kv import several.kv dump --tree n --multi; code 0; quiet

broken() # message ; the dump on standard input
{
    cat >dump
    rm -f x.kv
    run kv import x.kv dump --format mdb_dump; code 3; err "$1"; err 'nothing was imported'
    run kv count x.kv; out 0
}
printf 'VERSION=3\nHEADER=END\n 61\n 62\n' | broken 'a part of it is missing'
printf 'VERSION=3\nHEADER=END\n 61\n' | broken 'a part of it is missing'
printf 'VERSION=3\nformat=print\n' | broken 'ends within its header'
printf 'VERSION=3\nHEADER=END\n 61\nDATA=END\n' | broken 'line 4: a key without a value'
printf 'VERSION=3\nHEADER=END\n 61\n6\nDATA=END\n' | broken 'line 4: a line of data begins with a blank'
printf 'VERSION=3\nHEADER=END\n 6\n 62\nDATA=END\n' | broken 'line 3: not pairs of hex'
printf 'VERSION=3\nHEADER=END\n 6g\n 62\nDATA=END\n' | broken 'line 3: not pairs of hex'
printf 'VERSION=3\nformat=print\nHEADER=END\n a\\b\n b\nDATA=END\n' | broken 'dump again without -p'
printf 'VERSION=3\nformat=print\nHEADER=END\n a\\\n b\nDATA=END\n' | broken 'line 4: a backslash'
printf 'VERSION=3\nformat=print\nHEADER=END\n a\\f\n b\nDATA=END\n' | broken 'line 4: a backslash'
printf 'k\tv\n' | broken 'it should begin with VERSION=3'
printf 'VERSION=3\nHEADER=END\n 61\n 62\nDATA=END\nk\tv\n' | broken 'line 6: no dump'

# a dump of nothing has its header: an empty one is that of a program that failed
printf '\n\n' >blank
for input in /dev/null blank; do
    for format in mdb_dump db_dump; do
        run_with $input kv import none.kv --format $format; code 3; err 'the dump is empty: a part of it is missing'
        run_with $input kv import none.kv --format $format --expiry; code 2; err 'dumps tell of no expiry'
    done
done
[ ! -e none.kv ] || fail 'an empty dump made a database'
run kv import none.kv; code 0; quiet; out_has 'imported 0 entries'
run kv import none.kv --format text; code 0; quiet; out_has 'imported 0 entries'
printf '\n' | cat - b >blank
run kv import blank.kv blank --format mdb_dump; code 0; quiet; out_has 'imported 4 entries'

# a text that only looks like a dump
printf 'VERSION=3\tvalue\n' >dump
run kv import y.kv dump; code 0
run kv get y.kv VERSION=3; out value
printf 'VERSION=3\nHEADER=END\n 61\n 62\nDATA=END\n' >dump
run kv import y.kv dump --format text; code 3; err 'no tab'

# what a terminal would obey
printf 'VERSION=\033]0;x\007\n' | broken 'version \x1b]0;x\x07 of the dump format'
printf 'VERSION=3\r\n' | broken 'version 3\r of'
printf 'VERSION=3\ntype=\033[2J\n' | broken 'type=\x1b[2J: only'
printf 'VERSION=3\nformat=\033[2J\n' | broken 'format=\x1b[2J: known'

# a source that cannot be read makes no database
run kv import never.kv .; code 3; err '.: Is a directory'
[ ! -e never.kv ] || fail 'a folder made a database'

finish
