#!/usr/bin/env bash
# put --ttl, expire, persist, touch, ttl, sweep, clock, and expiries in the text form.
. "$(dirname "$0")/common.sh"

run kv put a.kv never 1; code 0
run kv ttl a.kv never; code 0; out -1
run kv put a.kv soon 2 --ttl 1ms; code 0
sleep 0.1
run kv get a.kv soon; code 1; err 'no key soon'
run kv ttl a.kv soon; code 1
run kv count a.kv; out 1
run kv scan a.kv; out 'never	1'
run kv expire a.kv soon 1h; code 1
run kv put a.kv hour 3 --ttl 1h; code 0
left=$(kv ttl a.kv hour)
[ "$left" -gt 3500000 ] && [ "$left" -le 3600000 ] || fail "an hour is $left ms"
run kv put a.kv hour 4 --keep-ttl; code 0
[ "$(kv ttl a.kv hour)" -gt 3500000 ] || fail 'not kept'
run kv touch a.kv hour 2h --min-gain 2h; code 0
[ "$(kv ttl a.kv hour)" -le 3600000 ] || fail 'gained too little'
run kv touch a.kv hour 2h; code 0
[ "$(kv ttl a.kv hour)" -gt 7000000 ] || fail 'not put off'
run kv persist a.kv hour; code 0
run kv ttl a.kv hour; out -1
run kv expire a.kv hour 3d; code 0
run kv put a.kv hour 5 --ttl 0; code 2
run kv expire a.kv hour soon; code 2; err 'should be a time'

run kv put a.kv hour 5 --ttl 3600; code 2; err 'with its unit: 500ms, 10s, 2m, 2h, 3d'
run kv expire a.kv hour 3600; code 2; err 'with its unit'
run kv touch a.kv hour 1h --min-gain 5; code 2; err 'with its unit'
run kv get a.kv hour --wait 0; code 0; out 4
run kv get a.kv hour --wait 5; code 2

# ---- sweeping ----
run kv sweep a.kv; code 0; out 'removed 1 entry, visited 1 pages'
run kv sweep a.kv --json; code 0
run kv check a.kv; code 0

# ---- the text form ----
run kv export a.kv; code 0; err '1 entry expires; --expiry exports when'
kv export a.kv --expiry >text; ended $? export; code 0
run_with text kv import b.kv --expiry; code 0
kv export b.kv --expiry >again; same again text
run kv export a.kv --format mdb_dump; code 0; err 'a dump cannot say so'
run kv export a.kv --format mdb_dump --expiry; code 2
printf 'k\tx\tv\n' >bad
run_with bad kv import c.kv --expiry; code 3; err 'not a number'

# ---- the clock ----
run kv clock a.kv; code 0; out "the file's clock is not ahead of the system's"
run kv clock a.kv --reset; code 0

# ---- what cannot expire ----
kv put m.kv --tree many --multi k v
printf 'k\t4000000000000\tw\n' >timed
run_with timed kv import m.kv --tree many --expiry; code 2; err 'do not expire'
run kv export m.kv --tree many --expiry; code 2; err 'do not expire'; out
printf 'VERSION=3\nHEADER=END\n 61\n 62\nDATA=END\n' >dump
run_with dump kv import m.kv --expiry; code 2; err 'dumps tell of no expiry'
run_with dump kv import never.kv --expiry; code 2
run_with timed kv import never.kv --expiry --tree t --multi; code 2
[ ! -e never.kv ] || fail 'a refused import made a file'
run kv count m.kv; out 0

# ---- times beyond those of signed numbers ----
kv put f.kv k v --ttl 18446744073709551615ms
run kv ttl f.kv k; left=$(cat out)
[ "${left:0:3}" = 184 ] || fail "ttl: $left"
run kv ttl f.kv k --json; grep -q '"ttl_ms":184[0-9]*}' out || fail "ttl --json: $(cat out)"
kv persist f.kv k; run kv ttl f.kv k --json; out '{"key":"k","ttl_ms":-1}'

finish
