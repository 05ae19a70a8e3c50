#!/usr/bin/env bash
# --json of the commands about keys: an object per line, the same exit statuses.
. "$(dirname "$0")/common.sh"
put='{"key":"a","changed":true}'
kept='{"key":"a","changed":false}'

# ---- one key ----
run kv put a.kv a 1 --json; code 0; quiet; out "$put"
run kv put a.kv a 2 --if-absent --json; code 1; err 'is there already'; out "$kept"
run kv put a.kv a 2 --if-equals 9 --json -q; code 1; quiet; out "$kept"
run kv get a.kv a --json; code 0; out '{"key":"a","value":"1"}'
run kv get a.kv none --json; code 1; out
run kv has a.kv a --json; code 0; out '{"key":"a","found":true}'
run kv has a.kv none --json; code 1; out '{"key":"none","found":false}'
run kv cas a.kv a 1 2 --json; code 0; out "$put"
run kv cas a.kv a 1 2 --json; code 1; out "$kept"
run kv append a.kv a 34 --json; code 0; out '{"key":"a","changed":true,"length":3}'
run kv append a.kv a 5 --max-size 3 --json; code 1; out "$kept"
run kv incr a.kv n -3 --json; code 0; out '{"key":"n","value":-3}'
run kv incr a.kv f 0.1 --float --json; code 0; out '{"key":"f","value":0.1}'
run kv incr a.kv f 0.2 --float; out 0.30000000000000004
run kv put a.kv word x; run kv incr a.kv word --json; code 1; out
run kv put a.kv -e '\xff' '"\x00' --json; out '{"key":{"hex":"ff"},"changed":true}'
run kv get a.kv -e '\xff' --json; out '{"key":{"hex":"ff"},"value":"\"\u0000"}'
run kv put a.kv -e '\xc2\x9b31m' '\xc2\x80\xc2\x9f\xc2\xa0\x7f' --json; out '{"key":"\u009b31m","changed":true}'
run kv get a.kv -e '\xc2\x9b31m' --json; out '{"key":"\u009b31m","value":"\u0080\u009f'$'\ua0''\u007f"}'
run kv del a.kv -e '\xc2\x9b31m'
run kv put t.kv --tuple '("n", 1)' x --json; out '{"key":"(\"n\", 1)","changed":true}'
run kv get t.kv --tuple '("n", 1)' --json; out '{"key":"(\"n\", 1)","value":"x"}'

# ---- expiry ----
run kv ttl a.kv a --json; code 0; out '{"key":"a","ttl_ms":-1}'
run kv expire a.kv a 1d --json; code 0; out '{"key":"a","ttl_ms":86400000}'
run kv touch a.kv a 2d --json; code 0; out '{"key":"a","ttl_ms":172800000}'
run kv persist a.kv a --json; code 0; out '{"key":"a","ttl_ms":-1}'
run kv expire a.kv none 1d --json; code 1; out
run kv expire a.kv a 0 --json; code 0; out '{"key":"a","ttl_ms":0}'
run kv ttl a.kv a --json; code 1; out
run kv clock a.kv --json; code 0; out '{"ahead_ms":0,"wrong":false}'

# ---- several ----
run kv put m.kv --tree t --multi k 1 --json; out '{"key":"k","changed":true}'
run kv put m.kv --tree t k 2
run kv put m.kv --tree t k 2 --json; code 0; out '{"key":"k","changed":false}'
run kv put m.kv --tree t k 2 --if-absent --json; code 1; out '{"key":"k","changed":false}'
run kv get m.kv --tree t k --json; out '{"key":"k","value":"1"}' '{"key":"k","value":"2"}'
run kv count m.kv --tree t --json; out '{"count":2}'
run kv del m.kv --tree t k --json; code 0; out '{"key":"k","deleted":2}'
for key in b c d; do kv put d.kv $key x; done
run kv del d.kv b z --json; code 1; err 'no key z'; out '{"key":"b","deleted":1}' '{"key":"z","deleted":0}'
run kv del d.kv c --if-equals y --json; code 1; out '{"key":"c","changed":false}'
run kv del d.kv c --if-equals x --json; code 0; out '{"key":"c","changed":true}'
run kv del d.kv --all --json; code 0; out '{"deleted":1}'
printf 'x\t1\ny\t2\n' >lines
run kv import i.kv lines --json; code 0; out_has '{"imported":2,"seconds":'
run kv pop i.kv --json; out '{"key":"x","value":"1"}'
run kv scan i.kv --json --keys-only; out '{"key":"y"}'

# ---- there is no such tree: the same answer as for no such key ----
run kv put d.kv k v --tree no --if-present --json; code 1; out '{"key":"k","changed":false}'
run kv cas d.kv k v w --tree no --json; code 1; out '{"key":"k","changed":false}'
run kv has d.kv k --tree no --json; code 1; out '{"key":"k","found":false}'
run kv swap d.kv no --json; code 1; out '{"key":"no","old":null}'
run kv swap d.kv k --tree no --json; code 1; out '{"key":"k","old":null}'
run kv del d.kv k --if-equals x --tree no --json; code 1; out '{"key":"k","changed":false}'
run kv has d.kv no -q; code 1; quiet

# ---- snapshots ----
run kv snapshot create d.kv one --json; code 0; out '{"name":"one","changed":true}'
run kv snapshot create d.kv one --json; code 1; out '{"name":"one","changed":false}'
run kv snapshot drop d.kv two --json; code 1; out '{"name":"two","changed":false}'

# ---- numbers of 64 bits that are no counts ----
run kv meta d.kv --json; grep -q '"seal":"[0-9a-f]\{16\}"' out || fail "meta: the seal: $(cat out)"
run kv pages d.kv --json --quiet; code 2; err 'exclude each other'

finish
