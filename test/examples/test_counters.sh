#!/usr/bin/env bash
# Page views from several programs with several threads each: none is lost, also after a kill.
set -eu
counters=$BUILD/examples/counters
cd "$TMPDIR"
wrong()
{
    echo "counters: $*" >&2
    exit 1
}
total() # of the last line that says it
{
    "$counters" site.kv 1 0 | awk '$1 == "total" { n = $2 } $1 ~ "^/" { sum += $2 }
        END { if (n != sum) exit 1; print n + 0 }' || wrong 'the total is not the sum of the pages'
}

for ((i = 0; i < 3; i++)); do
    "$counters" site.kv 3 40 >/dev/null || echo "exit status $?" >>failed &
done
wait
[ ! -e failed ] || wrong "$(cat failed)"
[ "$(total)" = 360 ] || wrong "360 views were $(total)"

before=360
for ((i = 0; i < 3; i++)); do
    "$counters" site.kv 4 100000 >/dev/null &
    until [ "$(total)" -gt $((before + 20)) ]; do :; done
    kill -KILL $!
    wait $! 2>/dev/null || true
    before=$(total)
done
[ "$(ls)" = site.kv ] || wrong "left: $(ls)"
"$counters" site.kv 0 2>/dev/null && wrong 'no threads at all were taken'
exit 0
