#!/usr/bin/env bash
# Feature flags as their users have them: who follows sees each flip, of any process.
set -eu
flags=$BUILD/examples/flags
cd "$TMPDIR"
wrong()
{
    echo "flags: $*" >&2
    exit 1
}

"$flags" set dark on
mkfifo pipe
"$flags" follow >pipe &
following=$!
trap 'kill $following 2>/dev/null || true' EXIT
exec 3<pipe
sees()
{
    local said
    read -r -t 60 said <&3 || wrong "nothing was said of $*"
    [ "$said" = "$*" ] || wrong "$said instead of $*"
}
sees dark on
"$flags" set search on
sees search on
"$flags" set dark off
sees dark off
"$flags" set dark maybe 2>/dev/null && wrong 'a wrong usage was taken'
kill $following
wait $following 2>/dev/null || true
"$flags" set dark on # what the killed one left is in nobody's way
[ "$(ls)" = "$(printf 'flags.kv\npipe')" ] || wrong "left: $(ls)"
exit 0
