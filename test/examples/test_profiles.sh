#!/usr/bin/env bash
# Profiles come back as they were from both forms, and the sizes that are printed are the stored ones.
set -eu
profiles=$BUILD/examples/profiles
cd "$TMPDIR"
wrong()
{
    echo "profiles: $*" >&2
    exit 1
}
[ -x "$profiles" ] || { echo 'skip: no cJSON or no msgpack-c'; exit 77; }

"$profiles" p.kv 1000 >said || wrong "exit status $?"
[ "$(wc -l <said)" = 2 ] || wrong "$(cat said)"
[ "$(cut -d ' ' -f 1 said | paste -s -d ' ')" = 'JSON MessagePack' ] || wrong "$(cat said)"
while read -r tree printed _; do
    [ "$("$BUILD/kv" count p.kv --tree "$tree")" = 1000 ] || wrong "profiles of $tree"
    # bytes of the values, from the escaped form
    stored=$("$BUILD/kv" export p.kv --tree "$tree" | cut -f 2 |
        sed 's/\\x[0-9a-f][0-9a-f]/x/g; s/\\./x/g' | LC_ALL=C awk '{ n += length }
            END { printf "%.1f", n / NR }')
    [ "$stored" = "$printed" ] || wrong "$tree: $printed bytes are printed, $stored stored"
done <said
