#!/usr/bin/env bash
# Keys that are tuples: given, compared and shown as such.
. "$(dirname "$0")/common.sh"
tab=$'\t'

run kv put a.kv --tuple '("order", "2024-01-15", 1001)' lamps; code 0; quiet
run kv put a.kv --tuple '("order", "2024-01-15", 999)' chair; code 0
run kv put a.kv --tuple '("order","2024-01-1",5)' soap; code 0
run kv put a.kv --tuple '("orders")' other; code 0
run kv put a.kv --tuple '(desc 2.5, x"00ff", null, (true, -1))' mixed; code 0
run kv put a.kv plain value; code 0
run kv get a.kv --tuple '( "order" , "2024-01-15" , 1001 )'; code 0; out lamps
run kv has a.kv --tuple '("order", "2024-01-15", 1001)'; code 0
run kv has a.kv --tuple '("order", "2024-01-15", "1001")'; code 1

# numbers in the order of numbers; a part is not the beginning of a longer one
run kv scan a.kv --tuple --prefix '("order", "2024-01-15")'; code 0
out "(\"order\", \"2024-01-15\", 999)${tab}chair" "(\"order\", \"2024-01-15\", 1001)${tab}lamps"
run kv count a.kv --tuple --prefix '("order", "2024-01-1")'; out 1
run kv count a.kv --tuple --prefix '("order", "2024-01-1"...)'; out 3
run kv count a.kv --tuple --prefix '("order"...)'; out 4
run kv count a.kv --tuple --from '("order", "2024-01-15", 1000)' --to '("orders")'; out 1
run kv scan a.kv --tuple -k; code 0
out '("order", "2024-01-1", 5)' '("order", "2024-01-15", 999)' '("order", "2024-01-15", 1001)' \
    '("orders")' plain '(desc 2.5, x"00ff", null, (true, -1))'
run kv scan a.kv --tuple --json --limit 1 --from '("order", "2024-01-15")' -k
out '{"key":"(\"order\", \"2024-01-15\", 999)"}'
run kv scan a.kv --tuple --json --keys-only --from plain; code 2; err 'no tuple'

# values keep their own escapes
run kv put a.kv --tuple --escaped '("a\x00b\"")' '\x41\t'; code 0
run kv scan a.kv --tuple --prefix '("a"...)'; out "(\"a\\x00b\\\"\")${tab}A\\t"
run kv put a.kv --tuple $'("\xff\xc2\x85\xc3\xa9")' odd; code 0
run kv scan a.kv --tuple --values-only --prefix '("\xff"...)'; out odd
run kv scan a.kv --tuple --keys-only --prefix '("\xff"...)'; out '("\xff\xc2\x85é")'
run kv get a.kv --tuple '("\xff\xc2\x85é")'; out odd

# removing; messages name the tuple
run kv del a.kv --tuple '("order", "2024-01-1", 5)' '("orders")'; code 0; quiet
run kv del a.kv --tuple '(7, 8)'; code 1; err 'no key (7, 8)'
run kv get a.kv --tuple '(7)'; code 1; err 'no key (7)'
run kv put a.kv --tuple --if-present '(7)' x; code 1; err 'no key (7)'
run kv get a.kv --tuple '("c\\d", "\"", "\x1b")'; code 1; err 'no key ("c\\d", "\"", "\x1b")'
long=$(printf '%0200d' 0)
run kv get a.kv --tuple "(\"$long\")"; code 1; err "no key (\"${long:0:88}"; err 000...
run kv del a.kv --tuple --prefix '("order")'; code 0; out 'deleted 2 entries'

# mistakes
run kv put a.kv --tuple 'order' x; code 2; err 'no tuple: mistake at byte 1'
run kv put a.kv --tuple '("a", 1' x; code 2; err 'mistake at byte 8'
run kv put a.kv --tuple '("a"...)' x; code 2; err 'for --prefix'
run kv scan a.kv --tuple --prefix '(1.x)'; code 2
run kv put a.kv --tuple "(\"$(head -c 2000 /dev/zero | tr '\0' k)\")" x; code 3; err 'the limit is 960'
run kv import a.kv --tuple; code 2

# parts that are not UTF-8 are escaped as they may be given, in JSON too
kv put t.kv --tuple '("\xff", 9007199254740993)' odd
run kv scan t.kv --tuple --json; code 0; out '{"key":"(\"\\xff\", 9007199254740993)","value":"odd"}'
run kv get t.kv --tuple '("\xff", 9007199254740993)'; out odd

finish
