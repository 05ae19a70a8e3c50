#!/usr/bin/env bash
# Sessions: use puts the end off, and seldom writes; what has ended is nobody's, and swept.
set -eu
sessions=$BUILD/examples/sessions
cd "$TMPDIR"
wrong()
{
    echo "sessions: $*" >&2
    exit 1
}

# On a machine that sleeps for longer than a session lasts, longer ones are needed.
for lifetime in 1000 4000 16000; do
    "$sessions" $lifetime >said || wrong "exit status $?"
    grep -q 'too late' said || break
done

[ "$(sed -n 1p said)" = 'at first: 101 sessions, the file holds 101' ] || wrong "$(cat said)"
written=$(sed -n '2s/^alice used it 1500 times, which wrote \([0-9]*\) times$/\1/p' said)
# once in each of fifteen rounds, and more often only where one took a thirtieth of a lifetime
[ "${written:-0}" -ge 15 ] && [ "$written" -lt 750 ] || wrong "$(cat said)"
held=$(sed -n '3s/^now: 1 sessions, the file holds //p' said)
[ "${held:-0}" -gt 1 ] && [ "$held" -lt 101 ] || wrong "writes did not sweep: $(cat said)"
[ "$(tail -n +4 said)" = "swept $((held - 1))
then: 1 sessions, the file holds 1
in the end: 0 sessions, the file holds 1" ] || wrong "$(cat said)"
"$sessions" never 2>/dev/null && wrong 'a word was taken for a time'
[ "$(ls)" = $'said\nsessions.kv' ] || wrong "left: $(ls)"
exit 0
