#!/usr/bin/env bash
# merge: consecutive backups made into one; joined files; what does not lead on.
. "$(dirname "$0")/common.sh"

commit_of() # file
{
    kv stat "$1" --json | sed 's/.*"commit_id":\([0-9]*\).*/\1/'
}

content() # file: all trees
{
    kv export "$1" --format mdb_dump --all | grep -v '^mapsize='
}

for i in {1000..1999}; do printf 'key%d\tvalue %d\n' "$i" "$i"; done | kv import a.kv - -q
kv backup a.kv -q >full; first=$(commit_of a.kv)
kv put a.kv key1500 other; kv put a.kv n 1 --tree more
kv backup a.kv --since "$first" -q >monday; second=$(commit_of a.kv)
kv del a.kv --prefix key12 -q
kv backup a.kv --since "$second" -q >tuesday; third=$(commit_of a.kv)
kv put a.kv n 2 --tree more
kv backup a.kv --since "$third" -q >wednesday

run kv merge monday tuesday wednesday; code 0
grep -q -E "^kv: merge: commits $first to [0-9]+: [0-9,]+ entries, [0-9.]+ KiB\$" err || fail "report: $(cat err)"
mv out week
kv apply b.kv full week -q || fail 'the merged backup does not fit'
content a.kv >left
content b.kv >right
same left right
kv check b.kv -q || fail 'the copy is damaged'

# files of several; a merged one is merged again; the whole is a full backup
cat monday tuesday >two
run kv merge full two wednesday -q; code 0; quiet
kv apply c.kv - -q <out || fail 'a merged full backup'
content c.kv >right
same left right
kv merge two wednesday -q >again
cmp -s week again || fail 'joined files give another backup'

kv merge monday monday -q >again
cmp -s again monday || fail 'the same backup twice brings something'
run kv merge monday wednesday; code 1
err 'leads from commit'
head -c 200 monday >short
run kv merge short tuesday; code 4
run kv merge monday none; code 3
echo text >text
run kv merge text; code 4

# What is behind a backup and none is not taken for many.
head -c 30000000 /dev/zero | cat full - >zeros
(
    [ -n "${VARIANT:-}" ] || ulimit -v 100000 # sanitizers take much
    run kv merge zeros; code 4; err 'this is no backup'
)
finish
