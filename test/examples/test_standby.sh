#!/usr/bin/env bash
# A standby has what its primary sent, commit for commit, its reader too; and it goes on by itself.
set -eu
cd "$TMPDIR"
wrong()
{
    echo "standby: $*" >&2
    exit 1
}

"$BUILD/examples/standby" >said || wrong "exit status $?"
for ((day = 1; day <= 5; day++)); do
    sed -n ${day}p said | grep -Eq "^commits [0-9]+ to [0-9]+: [0-9]+ bytes; a reader saw \
$(((day - 1) * 1000)) orders, now sees $((day * 1000))\$" || wrong "day $day: $(cat said)"
done
[ "$(tail -n +6 said)" = 'took over: 6000 orders' ] || wrong "$(cat said)"
# the same orders as the primary's, and a day more; the primary died without closing
[ "$("$BUILD/kv" count primary.kv)" = 5000 ] || wrong 'the primary lost orders'
"$BUILD/kv" export primary.kv >primary
"$BUILD/kv" export standby.kv | head -n 5000 | cmp -s - primary || wrong 'the copies differ'
[ "$("$BUILD/kv" count standby.kv --prefix 'day 6')" = 1000 ] || wrong 'the standby does not write'
