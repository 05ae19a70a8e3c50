#!/usr/bin/env bash
# trees, stat, check, repair, copy: whole files.
. "$(dirname "$0")/common.sh"

for i in {1000..4999}; do printf 'key%d\tvalue %d\n' "$i" "$i"; done >input
kv import a.kv input -q
kv import a.kv input -q --tree numbers --compress 4k
kv put a.kv k v --tree 'Ünïcødé 漢字'; kv put -e a.kv k v --tree '\xff\n'
kv del a.kv k --tree 'Ünïcødé 漢字'

# ---- trees ----
run kv trees a.kv; code 0; quiet
[ "$(wc -l <out)" = 5 ] || fail "trees: $(cat out)"
grep -q -E '^tree +entries +pages +size +height +values +compress$' out || fail 'trees: no titles'
grep -q -E '^\(main\) +4,000 +[0-9]+ +[0-9.]+ KiB +2 +1 +-$' out || fail "trees: main: $(cat out)"
grep -q -E '^numbers +4,000 +[0-9]+ +[0-9.]+ KiB +2 +1 +4\.0 KiB$' out || fail 'trees: numbers'
grep -q -E '^Ünïcødé 漢字 +0 ' out || fail 'trees: unicode'
grep -q -E '^\\xff\\n +1 +1 +4\.0 KiB +1 +1 +-$' out || fail 'trees: escapes'
# columns line up, also under wide characters
if have python3; then
    python3 -c '
import sys, unicodedata
width = lambda s: sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in s)
lines = open(sys.argv[1], encoding="utf-8").read().splitlines()
sys.exit(len({width(line) for line in lines}) != 1)' <(kv trees a.kv) || fail 'trees: crooked columns'
fi
run kv trees a.kv --json; code 0; quiet
out_has '{"name":null,"entries":4000,'; out_has '"name":{"hex":"ff0a"},"entries":1'
out_has '"name":"numbers"'; out_has '"compress_from":4096'
if have jq; then
    kv trees a.kv --json | jq -r 'map(.entries) | add' >out; echo 8001 >expected; same expected out
fi

# ---- stat ----
run kv stat a.kv; code 0; quiet
grep -q -E '^entries +8,001$' out || fail "stat: entries: $(cat out)"
grep -q -E '^named trees +3$' out || fail 'stat: trees'
grep -q -E '^page size +4,096 +4\.0 KiB$' out || fail 'stat: page size'
grep -q -E '^longest key +960 +bytes$' out || fail 'stat: key_max'
grep -q -E '^file id +[0-9a-f]{32}$' out || fail 'stat: file id'
grep -q ' $' out && fail 'stat: blanks at the end of a line'
size=$(stat -c %s a.kv)
grep -q -E "^file size +$(sed -E ':a;s/^([0-9]+)([0-9]{3})/\1,\2/;ta' <<<"$size") " out ||
    fail 'stat: file size'
run kv stat a.kv --json; code 0; quiet
members=$(sed -n '/^typedef struct kv_db_info/,/^}/s:/\*.*::p' "$SRC/include/kv.h" |
    sed 's/\[16\]//' | grep -o -E '[a-z_]+[;,]' | tr -d ';,' |
    grep -v -x -E 'size|reserved|commits|batches|flushes') # also without counts of its own doing
[ "$(wc -w <<<"$members")" -gt 15 ] || fail "kv_db_info has few members: $members"
for member in $members; do out_has "\"$member\":"; done
out_has '"entries":8001,"trees":3,'; out_has "\"file_size\":$size,"; out_has '"poisoned":false'
if have jq; then
    kv stat a.kv --json | jq -r .page_size >out; echo 4096 >expected; same expected out
fi
kv del a.kv --tree numbers --prefix key1 -q
run kv stat a.kv
for use in leaves branches; do
    grep -q -E "^  $use +[0-9,]+ +[0-9.]+ KiB$" out || fail "stat: $use: $(cat out)"
done
kv import a.kv input -q --tree numbers
kv put b.kv k v --page-size 16k
run kv stat b.kv --json; out_has '"page_size":16384,"key_max":4032,'

# ---- check ----
run kv check a.kv; code 0; quiet
grep -q -E '^ok: [0-9,]+ pages in [0-9.]+ s$' out || fail "check: $(cat out)"
run kv check a.kv --quiet; code 0; out; quiet
run kv check a.kv --json; code 0; quiet; out_has '{"problems":[],"ok":true,"pages":'
cp a.kv damaged.kv
pages=$((size / 4096))
for page in $(seq 4 7 $((pages - 1))); do
    printf '\xde\xad\xbe\xef' | dd of=damaged.kv bs=1 seek=$((page * 4096 + 200)) conv=notrunc status=none
done
run kv check damaged.kv; code 4; err 'problem'; err 'kv repair'; out_has 'page '
run kv check damaged.kv --json; code 4; out_has '"ok":false'; out_has '"invariant":"'
if have jq; then
    kv check damaged.kv --json 2>err | jq -r '.problems | length > 0' >out
    echo true >expected; same expected out
fi
# A root that cannot be read says nothing against the pages that a snapshot shares with the present.
seq 1000 | sed 's/.*/key&\tvalue & that is long enough for several leaves/' | kv import shared.kv - -q
kv snapshot create shared.kv before
kv put shared.kv key1 new
root=$(kv pages shared.kv | awk '$3 == 1 && $4 > newest { newest = $4; page = $1 } END { print page }')
printf '\xde\xad' | dd of=shared.kv bs=1 seek=$((root * 4096 + 200)) conv=notrunc status=none
run kv check shared.kv; code 4; err '1 problem;'; out_has "page $root: "
head -c $((size - 4096)) a.kv >cut.kv
run kv check cut.kv; code 4; err 'kv salvage'; err 'kv meta'
run kv meta cut.kv; code 4
for meta in 0 1; do
    grep -q "^meta $meta is not chosen: its commit has [0-9]* pages, but the file ends after $((size / 4096 - 1))\$" out ||
        fail "meta of a cut file: $(cat out)"
done
run kv meta cut.kv --json; code 4; out_has '"chosen":false'
grep -q '"chosen":true' out && fail "meta of a cut file: one is chosen: $(cat out)"
run kv check cut.kv; out_has "page $((size / 4096 - 1)): M2: the commit has "; out_has ' [catalog: '
run kv check cut.kv --json; code 4
out_has "{\"problems\":[{\"page\":$((size / 4096 - 1)),\"invariant\":\"M2\",\"message\":\"the commit has "
out_has '"path":"catalog: '; out_has '"ok":false,"pages":'
cp a.kv metaless.kv
dd if=/dev/zero of=metaless.kv bs=4096 count=2 conv=notrunc status=none
run kv check metaless.kv --json; code 4; out_has '{"problems":[{"page":0,"invariant":"M0",'
out_has '{"page":1,"invariant":"M0",'; out_has '"ok":false,"pages":'
: >empty.kv
printf 'SQLite format 3\0 and so on' >other.kv
for file in empty other; do
    run kv check $file.kv; code 4; out_has 'M0: no page of it looks like one of a database'
    run kv check $file.kv --json; code 4; out_has '{"problems":[{"page":0,"invariant":"M0","message":"no page '
done
run kv check no.kv --json; code 3; out_has '{"problems":[],"ok":false'
run kv pages metaless.kv --quiet; code 4
# One meta, as a crash may leave it: the file is sound, until the next commit with a note.
for meta in 0 1; do
    cp a.kv torn.kv
    printf '\xde\xad' | dd of=torn.kv bs=1 seek=$((meta * 4096 + 200)) conv=notrunc status=none
    run kv check torn.kv --quiet; code 0; out; quiet
    run kv check torn.kv --json; code 0; out_has '"ok":true'; out_has "\"notes\":[{\"meta\":$meta,\"message\":\"its "
    run kv check torn.kv; code 0; quiet; out_has 'ok: '; out_has "note: meta $meta is not sound: its "
    run kv pages torn.kv; code 0; grep -q -E "^ +$meta  meta .*: this meta is not sound" out || fail "pages: meta $meta is sound"
    run kv put torn.kv another entry -q; code 0
    run kv check torn.kv; code 0
    [ "$(wc -l <out)" = 1 ] || fail "check: a note behind the next commit: $(cat out)"
done
run kv check a.kv --json; out_has '"notes":[]}'
run kv scan damaged.kv; code 4; err 'kv: damaged.kv: after '; err 'kv check'
run kv export damaged.kv --format db_dump; code 4
tail -n 1 out | grep -q DATA=END && fail 'half an export looks like a whole one'

# ---- repair ----
run kv repair a.kv; code 0; quiet; out_has 'written anew'
run kv check a.kv; code 0
same <(kv scan a.kv) input
kv copy a.kv before.kv
dd if=/dev/urandom of=a.kv bs=4096 count=1 conv=notrunc status=none # one of the two metas
run kv repair a.kv; code 0; quiet; out_has 'meta page 0 is damaged'; out_has 'written anew'
run kv check a.kv; code 0
run kv count a.kv; out 4000
run kv repair missing.kv; code 3; err 'kv: missing.kv: '
[ ! -e missing.kv ] || fail 'repair created a file'

# ---- copy ----
run kv copy a.kv copy.kv; code 0; out; quiet
same <(kv export a.kv) <(kv export copy.kv)
same <(kv trees a.kv) <(kv trees copy.kv)
run kv check copy.kv; code 0
run kv copy a.kv copy.kv; code 3; err 'kv: copy.kv: is there already'
run kv copy a.kv no/such/folder.kv; code 3; err 'no/such/folder.kv'
kv del a.kv --from key2 -q
run kv copy a.kv compact.kv --compact; code 0; quiet
run kv check compact.kv; code 0
same <(kv export a.kv) <(kv export compact.kv)
same <(kv export a.kv -t numbers) <(kv export compact.kv -t numbers)
[ "$(stat -c %s compact.kv)" -lt "$(stat -c %s copy.kv)" ] || fail 'compact: not smaller'
for compact in '' --compact; do
    # shellcheck disable=SC2086 # an option or none
    run kv copy a.kv - $compact; code 0; quiet
    cp out streamed.kv
    run kv check streamed.kv; code 0
    same <(kv export a.kv) <(kv export streamed.kv)
    rm streamed.kv
    # shellcheck disable=SC2086
    kv copy a.kv - $compact | cat >streamed.kv
    same <(kv export a.kv -t numbers) <(kv export streamed.kv -t numbers)
done

finish
