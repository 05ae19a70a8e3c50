#!/usr/bin/env bash
# Entries by their number: rank, nth, random, percentile, split.
. "$(dirname "$0")/common.sh"
tab=$'\t'
seq -f 'k%03g' 0 99 | awk '{ print $0 "\tv" NR - 1 }' >input
run kv import a.kv input -q; code 0

run kv rank a.kv k000; code 0; out 0
run kv rank a.kv k042; out 42
run kv rank a.kv k0425; code 0; out 43
run kv rank a.kv zzz; out 100
run kv rank a.kv k042 --json; out '{"rank":42,"found":true}'
run kv rank a.kv k0425 --json; out '{"rank":43,"found":false}'
run kv rank a.kv; code 2

run kv nth a.kv 0; code 0; out "k000${tab}v0"
run kv nth a.kv 99; out "k099${tab}v99"
run kv nth a.kv 100; code 1; out; err 'no such entry'
run kv nth a.kv 100 -q; code 1; quiet
run kv nth a.kv 0 --reverse; out "k099${tab}v99"
run kv nth a.kv 9 --prefix k01; out "k019${tab}v19"
run kv nth a.kv 10 --prefix k01; code 1
run kv nth a.kv 2 --from k050 --to k060 --reverse --json; out '{"key":"k057","value":"v57"}'
run kv nth a.kv 3 --limit 3; code 1
run kv nth a.kv x; code 2; err 'from 0'

run kv percentile a.kv 0; out "k000${tab}v0"
run kv percentile a.kv 50; out "k049${tab}v49"
run kv percentile a.kv 99.5; out "k099${tab}v99"
run kv percentile a.kv 100; out "k099${tab}v99"
run kv percentile a.kv 7; out "k006${tab}v6"
run kv percentile a.kv 101; code 2; err 'from 0 to 100'
run kv percentile a.kv 50 --prefix z; code 1

run kv split a.kv 4; code 0; out k025 k050 k075
run kv split a.kv 4 --reverse; out k025 k050 k075
run kv split a.kv 1; code 0; out
run kv split a.kv 10 --prefix k01 --json --limit 3; out '"k011"' '"k012"'
run kv split a.kv 0; code 2
# the parts are all, and equal
run kv count a.kv --to k025; out 25
run kv count a.kv --from k075; out 25

run kv random a.kv --limit 300; code 0
kv scan a.kv >all
sort -u out >drawn
comm -23 drawn all >strange
: >none; same strange none
[ "$(wc -l <out)" = 300 ] || fail 'not 300 entries'
[ "$(wc -l <drawn)" -gt 60 ] || fail "only $(wc -l <drawn) different entries in 300"
run kv random a.kv --prefix k042; out "k042${tab}v42"
run kv random a.kv --prefix z; code 1
run kv random a.kv --limit 0; code 0; out

# tuples
for i in 1 2 10 20 100; do kv put t.kv --tuple "(\"n\", $i)" "$i"; done
run kv rank t.kv --tuple '("n", 10)'; out 2
run kv nth t.kv --tuple 3; out "(\"n\", 20)${tab}20"
run kv split t.kv --tuple 2; out '("n", 10)'

# nothing is wanted
run kv nth t.kv 0 --limit 0; code 1; err 'no such entry'
run kv percentile t.kv 50 --limit 0; code 1
run kv split t.kv 2 --limit 0; code 0; out
run kv percentile t.kv 0x10; code 2; err 'from 0 to 100'
# far more parts than entries take no memory
(
    [ -n "${VARIANT:-}" ] || ulimit -v 2000000 # sanitizers take much
    run kv split t.kv --tuple 1000000; code 0; out '("n", 2)' '("n", 10)' '("n", 20)' '("n", 100)'
)

finish
