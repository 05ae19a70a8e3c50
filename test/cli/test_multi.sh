#!/usr/bin/env bash
# Trees of several values for each key.
. "$(dirname "$0")/common.sh"
tab=$'\t'

run kv put a.kv --tree tags --multi post-7 databases; code 0; quiet
run kv put a.kv --tree tags post-7 c; code 0
run kv put a.kv --tree tags post-10 c; code 0
run kv put a.kv --tree tags post-7 c; code 0; quiet
run kv put a.kv --tree tags post-7 c --if-absent; code 1; err 'has this value already'
run kv put a.kv --tree tags post-7 c --if-present; code 2
run kv put a.kv --tree tags -e 'post\x00' '\x01'; code 0
run kv get a.kv --tree tags post-7; code 0; out c databases
run kv get a.kv --tree tags post-7 --raw; printf 'cdatabases' >expected; same expected out
run kv get a.kv --tree tags post; code 1; err 'no key post'
run kv has a.kv --tree tags post-7; code 0
run kv has a.kv --tree tags post; code 1
run kv scan a.kv --tree tags
out "post\\x00${tab}\\x01" "post-10${tab}c" "post-7${tab}c" "post-7${tab}databases"
run kv scan a.kv --tree tags --from post-7 --reverse; out "post-7${tab}databases" "post-7${tab}c"
run kv scan a.kv --tree tags --prefix post- --json --limit 1; out '{"key":"post-10","value":"c"}'
run kv count a.kv --tree tags --prefix post-7; out 2
run kv rank a.kv --tree tags post-7; out 2
run kv nth a.kv --tree tags 3; out "post-7${tab}databases"
run kv trees a.kv --json; out_has '"name":"tags","entries":4'; out_has '"multi":true'
run kv trees a.kv; out_has many
run kv export a.kv --tree tags; code 0
err 'warning: tree tags has several values for each key; import it with --multi'
cp out text
run kv export a.kv --tree tags --format mdb_dump; code 0; quiet
kv put b-single.kv --tree t k v
run kv export b-single.kv --tree t; code 0; quiet
run kv import b.kv text --tree t --multi -q; code 0
same <(kv export b.kv --tree t 2>/dev/null) text
run kv check a.kv; code 0
run kv copy a.kv c.kv --compact; code 0
same <(kv export c.kv --tree tags 2>/dev/null) text

# ---- removing ----
run kv del a.kv --tree tags post-7 --value c; code 0; quiet
run kv get a.kv --tree tags post-7; out databases
run kv del a.kv --tree tags post-7 --value c; code 1; err 'no such value of key post-7'
run kv del a.kv --tree tags post-10; code 0
run kv del a.kv --tree tags post-10; code 1; err 'no key post-10'
run kv del a.kv --tree tags --all; code 0; out 'deleted 2 entries'
run kv del a.kv --tree tags --value x; code 2; err 'needs keys'

# ---- kinds of trees ----
run kv put a.kv --multi k v; code 2; err '--multi needs --tree'
kv put a.kv --tree plain k v
run kv put a.kv --tree plain --multi k w; code 3; err 'one value for each key'
run kv del a.kv --tree plain k --value v; code 2; err '--value'
run kv get a.kv --tree plain k; out v
run kv put a.kv --tree tags "$(head -c 900 /dev/zero | tr '\0' k)" "$(head -c 100 /dev/zero | tr '\0' v)"
code 3; err 'the limit is 960'

# ---- commands about the one value of a key ----
kv put a.kv --tree several --multi k v
for command in 'incr a.kv k' 'incr a.kv k 1 --float' 'swap a.kv k w' 'swap a.kv k' 'cas a.kv k v w' \
    'cas a.kv k --from-absent w' 'append a.kv k w' 'expire a.kv k 1m' 'persist a.kv k' 'touch a.kv k 1m' \
    'ttl a.kv k' 'pop a.kv' 'del a.kv k --if-equals v'; do
    # shellcheck disable=SC2086 # words
    run kv $command --tree several; code 2; out; err 'tree several has several values for each key: put adds'
    ! grep -q 'kv_' err || fail "$command: a name of C"
done
run kv scan a.kv --tree several; out "k${tab}v"
for command in cas incr append swap; do
    run kv $command a.kv k 1 2 --tree new --multi; code 2; err 'there is no --multi here'
    kv help $command | grep -q -e --multi && fail "kv help $command offers --multi"
done
for command in put import; do kv help $command | grep -q -e --multi || fail "kv help $command lacks --multi"; done
run kv help snapshot; out_has '--durability is for drop and restore'
for command in del export watch; do
    kv help $command | grep -e --all | grep -q -e '(del)' -e '(export' && fail "kv help $command: --all of others"
done
run kv help export; out_has 'exports every tree'
finish
