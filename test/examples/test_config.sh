#!/usr/bin/env bash
# The configuration store as its users have it: defaults, changes, and many calls at once.
set -eu
config=$BUILD/examples/config
cd "$TMPDIR"
wrong()
{
    echo "config: $*" >&2
    exit 1
}
is() # command... = text
{
    local said
    said=$("$config" "${@:1:$#-2}") || wrong "${*:1:$#-2}: exit status $?"
    [ "$said" = "${!#}" ] || wrong "${*:1:$#-2}: $said"
}

is get editor = vi
[ ! -e config.kv ] || wrong 'reading created the file'
"$config" get nothing >/dev/null && wrong 'there is a setting that nobody made'
"$config" set editor ed
is get editor = ed
is list = $'editor=ed\ncolor=auto (default)\nretries=3 (default)'
"$config" unset editor
is get editor = vi
"$config" add editor 1 >/dev/null && wrong 'a word was taken for a number'
is add retries 2 = 5

for ((i = 0; i < 20; i++)); do
    "$config" add count 1 >/dev/null || echo "add: $?" >>failed &
    "$config" set "key$i" "$i" || echo "set: $?" >>failed &
    "$config" list >/dev/null || echo "list: $?" >>failed &
done
wait
[ ! -e failed ] || wrong "$(cat failed)"
is get count = 20
[ "$("$config" | grep -c '^key')" = 20 ] || wrong 'settings are lost'
[ "$(ls)" = config.kv ] || wrong "left: $(ls)"
"$config" set one 2>/dev/null && wrong 'a wrong usage was taken'
exit 0
