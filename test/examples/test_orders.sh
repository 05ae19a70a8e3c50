#!/usr/bin/env bash
# Orders as their users have them: each part of a key in its own order.
set -eu
orders=$BUILD/examples/orders
cd "$TMPDIR"
wrong()
{
    echo "orders: $*" >&2
    exit 1
}
is() # command... = text
{
    local said
    said=$("$orders" "${@:1:$#-2}") || wrong "${*:1:$#-2}: exit status $?"
    [ "$said" = "${!#}" ] || wrong "${*:1:$#-2}: $said"
}

"$orders" add 2024-01-15 1001 lamps
"$orders" add 2024-01-15 999 chair
"$orders" add 2024-01-1 5 soap
"$orders" add 2024-01-16 20 table
"$orders" add 2024-01-15 1001 other 2>err && wrong 'a number was given twice'
grep -q taken err || wrong "$(cat err)"
is day 2024-01-15 = $'2024-01-15    999  chair\n2024-01-15   1001  lamps'
is day 2024-01-1 = '2024-01-1      5  soap'
is latest 2 = $'2024-01-16     20  table\n2024-01-15   1001  lamps'
is from 2024-01-01 2024-01-16 = 3
"$orders" day 2>/dev/null && wrong 'a wrong usage was taken'
for number in abc -5 '' ' 7' +7 7x 18446744073709551616; do
    "$orders" add 2024-01-01 "$number" x 2>err && wrong "'$number' was taken for a number"
    grep -q usage err || wrong "$(cat err)"
done
"$orders" latest many 2>/dev/null && wrong 'a word was taken for a number'
is day 2024-01-01 = ''
"$orders" add 2024-01-17 18446744073709551615 last
is latest 1 = '2024-01-17 18446744073709551615  last'
# the command reads the same keys
[ "$("$BUILD/kv" scan orders.kv --tuple --keys-only --limit 1)" = '("order", "2024-01-1", 5)' ] ||
    wrong 'kv scan --tuple'
exit 0
