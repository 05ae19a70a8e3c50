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
