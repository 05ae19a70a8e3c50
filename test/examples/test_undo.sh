#!/usr/bin/env bash
# The undo history as its users have it: back and forth, over many runs of the program.
set -eu
undo=$BUILD/examples/undo
cd "$TMPDIR"
wrong()
{
    echo "undo: $*" >&2
    exit 1
}
shows() # text
{
    local said
    said=$("$undo" show | paste -s -d ' ')
    [ "$said" = "$1" ] || wrong "not '$1' but '$said'"
}

shows ''
"$undo" undo >/dev/null && wrong 'something to undo'
"$undo" set title One
"$undo" set body text
"$undo" set title Two
shows 'body: text title: Two'
"$undo" undo
shows 'body: text title: One'
"$undo" undo
shows 'title: One'
[ "$("$undo" history | paste -s -d ' ')" = '  1 > now   2 (undone)   3 (undone)' ] ||
    wrong "$("$undo" history)"
"$undo" redo
shows 'body: text title: One'
"$undo" redo
shows 'body: text title: Two'
"$undo" redo >/dev/null && wrong 'something to redo'
"$undo" undo
"$undo" del body
shows 'title: One'
"$undo" redo >/dev/null && wrong 'a change did not end what could be redone'
"$undo" undo
shows 'body: text title: One'
"$undo" del nothing >said && wrong 'removed what is not there'
grep -q 'nothing to do' said || wrong "$(cat said)"
"$undo" redo
shows 'title: One'
"$undo" undo
shows 'body: text title: One'

# Killed between its two commits, a step leaves a snapshot of the present. A state that was never left
# has none yet; another has one from before.
leave() { "$BUILD/kv" snapshot create undo.kv "step $("$undo" history | grep -vc -e now -e undone)"; }
"$undo" set body more
leave || wrong 'a state that was never left has a snapshot'
"$undo" redo >/dev/null && wrong 'what a kill left is something to redo'
"$undo" undo
shows 'body: text title: One'
leave 2>/dev/null && wrong 'a state to which one came back has no snapshot'
"$undo" redo
shows 'body: more title: One'
leave 2>/dev/null && wrong 'a state to which one came back has no snapshot'
"$undo" set body most
leave
"$undo" set body last
"$undo" undo
shows 'body: most title: One'
"$undo" undo
shows 'body: more title: One'
"$undo" undo
shows 'body: text title: One'

# really killed, again and again, at any point
number() { "$undo" show | sed -n 's/^number: //p'; }
"$undo" set number 0
for ((i = 1; i <= 30; i++)); do
    "$undo" set number "$i"
done
for ((i = 0; i < 60; i++)); do
    before=$(number)
    way=undo
    [ $((i / 15 % 2)) = 0 ] || way=redo
    "$undo" $way >/dev/null &
    sleep "0.00$((i % 10))"
    kill -KILL $! 2>/dev/null || true
    wait $! 2>/dev/null || true
    after=$(number)
    [ $((after - before)) -ge -1 ] && [ $((after - before)) -le 1 ] ||
        wrong "one step led from $before to $after"
done
before=$(number)
"$undo" undo
[ "$(number)" = $((before - 1)) ] || wrong 'after kills, undo'
"$undo" redo
[ "$(number)" = "$before" ] || wrong 'after kills, redo'
"$undo" del number

# a long history has an end, and the file does not grow with it
for ((i = 0; i < 120; i++)); do
    "$undo" set body "$i"
done
[ "$("$undo" history | wc -l)" = 101 ] || wrong "$("$undo" history | wc -l) steps"
for ((i = 0; i < 100; i++)); do
    "$undo" undo
done
shows 'body: 19 title: One'
"$undo" undo >/dev/null && wrong 'an old step was kept'
"$BUILD/kv" check undo.kv >/dev/null || wrong 'the file is damaged'
[ "$(stat -c %s undo.kv)" -lt 4000000 ] || wrong "$(stat -c %s undo.kv) bytes"
