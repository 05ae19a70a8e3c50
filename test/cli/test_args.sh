#!/usr/bin/env bash
# The command line: where options may stand, what is refused, and what help is given.
. "$(dirname "$0")/common.sh"

# ---- no command, a wrong one ----
run kv; code 2; err 'no command'; err 'kv help'; out
run kv gte a.kv k; code 2; err 'did you mean get?'
run kv delete a.kv k; code 2; err 'did you mean del?'
run kv list a.kv; code 2; err 'did you mean scan?'
run kv clone a.kv b.kv; code 2; err 'did you mean copy?'
run kv expor a.kv; code 2; err 'did you mean export?'
run kv xyzzyx a.kv; code 2; err 'no command xyzzyx'
run kv a.kv get k; code 2; err 'the command comes first: kv get a.kv'
run kv $'bad\033[31m' a.kv; code 2; err 'bad\x1b[31m'

# ---- options ----
run kv put a.kv k v --tre x; code 2; err 'did you mean --tree?'
run kv put a.kv k v --trea=x; code 2; err 'did you mean --tree?'
run kv put a.kv k v --zzzzzzzz; code 2; err 'put -- before'
run kv put a.kv k v -Z; code 2; err 'no option -Z'
run kv put a.kv k v --limit 3; code 2; err 'there is no --limit here'
run kv put a.kv k v --tree; code 2; err '--tree needs a value'
run kv put a.kv k v --if-absent=yes; code 2; err '--if-absent takes no value'
run kv put a.kv k v --if-absent --if-present; code 2; err 'exclude each other'
run kv scan a.kv --keys-only --values-only; code 2; err 'exclude each other'
for bad in x -1 '' 1x 99999999999999999999; do
    run kv scan a.kv --limit "$bad"; code 2; err 'should be a number'
done
for bad in 1q k 4kk 20000000000g; do
    run kv put a.kv k v --compress "$bad"; code 2; err 'should be a size'
done
for bad in soon 1y '' -5; do
    run kv put a.kv k v --wait "$bad"; code 2; err 'should be a time'
done
for bad in 0 1000 5000 128k; do
    run kv put a.kv k v --page-size "$bad"; code 2; err '--page-size is one of'
done
run kv put a.kv k v --durability never; code 2; err 'strict|durable|lazy'
run kv help import; out_has 'default: text, or for import what the first line shows'
run kv export a.kv --format csv; code 2; err 'text|mdb_dump|db_dump'
run kv import a.kv --batch 0; code 2; err '--batch is at least 1'
for bad in 0 49 101 4294967346; do
    run kv import a.kv --fill "$bad"; code 2; err '--fill is 50 to 100'
done
run kv copy a.kv b.kv --fill 70; code 2; err '--fill needs --compact'

# ---- arguments ----
run kv get; code 2; err 'FILE is missing'; err 'usage: kv get FILE KEY'
run kv get a.kv; code 2; err 'KEY is missing'
run kv put a.kv k; code 2; err 'VALUE|- is missing'
run kv get a.kv k extra; code 2; err 'one argument too many: extra'
run kv version extra; code 2; err 'one argument too many: extra'
run kv del a.kv; code 2; err 'needs keys, or a range'
run kv del a.kv --limit 3; code 2; err 'needs keys, or a range'
run kv del a.kv k --prefix x; code 2; err 'either keys or a range'
run kv del a.kv --all --prefix x; code 2; err '--all has no bounds'
run kv put -e a.kv 'k\q' v; code 2; err 'wrong escape at byte 2'
run kv put -e a.kv k 'v\x4'; code 2; err 'wrong escape at byte 2'
run kv put -e a.kv k 'v\'; code 2; err 'wrong escape at byte 2'

[ ! -e a.kv ] || fail 'a wrong command line created a file'

# ---- options stand anywhere, -- ends them ----
run kv --tree=t put --wait 1s a.kv k --durability=lazy v; code 0; quiet
run kv get --tree t a.kv k; code 0; out v
run kv get a.kv -tt k; code 0; out v
run kv -t t get a.kv k; code 0; out v
run kv put a.kv -- --key --value; code 0
run kv get a.kv -- --key; code 0; out --value
run kv get a.kv --key; code 2; err 'put -- before'
run kv scan a.kv --prefix --k; code 0; out $'--key\t--value'
run kv put a.kv -- -- -; code 0 # standard input, empty
run kv get a.kv -- --; code 0; out ''
run kv put a.kv '' ''; code 0
run kv get a.kv ''; code 0; out ''
run kv put a.kv n 1 --page-size 4096 --compress 64KiB --wait 2m; code 0

# ---- help ----
run kv help; code 0; quiet; out_has 'usage: kv COMMAND FILE'
cp out overview
run kv --help; code 0; same out overview
run kv -h; code 0; same out overview
for command in get put del has scan count import export trees stat readers check repair watch salvage pages page meta copy version help; do
    run kv help $command; code 0; quiet; out_has "usage: kv $command"
    awk 'length > 100 { exit 1 }' out || fail "kv help $command has a long line"
    grep -q "^  $command  *[a-z]" overview || fail "kv help lacks $command"
    if [ $command != help ]; then
        cp out about
        run kv $command --help; code 0; same out about
    fi
done
run kv help gte; code 2; err 'did you mean get?'
run kv help nothing-like-it; code 2; err 'no command nothing-like-it'

version=$(sed -n 's/^#define KV_VERSION_[A-Z]* //p' "$SRC/include/kv.h" | paste -sd .)
run kv version; code 0; out_has "kv $version"
run kv --version; code 0; out_has "kv $version"

finish
