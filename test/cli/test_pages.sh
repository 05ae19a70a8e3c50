#!/usr/bin/env bash
# pages, page, meta: looking inside a file, sound or damaged.
. "$(dirname "$0")/common.sh"

for i in {1000..2999}; do printf 'key%d\tsecret %d\n' "$i" "$i"; done >input
kv import a.kv input -q
kv import a.kv input -q --tree hidden
head -c 20000 /dev/urandom >big
kv put a.kv large - <big
kv put -e a.kv '\xff\n' v --tree hidden
kv del a.kv --from key29 --to key3 -q
cp a.kv before

# ---- pages ----
run kv pages a.kv; code 0; quiet
grep -q -E '^ +page +type +level +birth +entries +state +of$' out || fail "pages: no titles: $(head -3 out)"
count=$(kv stat a.kv --json | sed 's/.*"pages":\([0-9]*\).*/\1/')
[ "$(grep -c -E '^ +[0-9]+  ' out)" = "$count" ] || fail "pages: not $count lines"
for use in 'leaf.*used +main tree' 'leaf.*used +tree hidden' 'branch +1 .*used +main tree' \
    'leaf.*used +catalog' 'large.*used +main tree' 'meta.*used'; do
    grep -q -E "$use" out || fail "pages: no line like $use"
done
for use in leaf:leaf_pages branch:branch_pages large:large_pages; do
    said=$(awk -v type="${use%:*}" '$1 == type { print $2 }' out)
    [ "$said" = "$(kv stat a.kv --json | sed "s/.*\"${use#*:}\":\([0-9]*\).*/\1/")" ] ||
        fail "pages: ${use%:*}: $said"
done
cp a.kv named.kv; kv snapshot create named.kv one
run kv pages named.kv; code 0; quiet
grep -q -E 'leaf.*used +snapshots' out || fail 'pages: the list of named snapshots is none of them'
kv put named.kv larger x # its leaf is the large value's, which both have now
run kv pages named.kv; code 0
grep -q -E 'large .* used +main tree' out || fail 'pages: a large value that a snapshot has, too'

# All is written anew, so that only the snapshot leads to what was there.
sed 's/secret/other/' input | kv import named.kv -q
kv put named.kv large - <input
run kv pages named.kv; code 0; quiet
for use in leaf:leaf_pages branch:branch_pages large:large_pages; do
    said=$(awk -v type="${use%:*}" '$1 == type { print $2 }' out)
    [ "$said" = "$(kv stat named.kv --json | sed "s/.*\"${use#*:}\":\([0-9]*\).*/\1/")" ] ||
        fail "pages: in use, with a snapshot: ${use%:*}: $said"
done
grep -q -E 'large .* dead *$' out || fail 'pages: no dead large value of the snapshot'
old=$(awk -v page="$(kv meta a.kv --json | sed 's/.*"main":{"root":{"page":\([0-9]*\).*/\1/')" '$1 == page' out)
grep -q -E 'branch .* dead *$' <<<"$old" || fail "pages: the root of the snapshot: $old"
cp named.kv d.kv
printf '\xde\xad' | dd of=d.kv bs=1 seek=$((${old%%  [a-z]*} * 4096 + 2000)) conv=notrunc status=none
run kv check d.kv; code 4
run kv pages d.kv; code 4; grep -q -E 'branch .* dead +N9' out || fail "pages: no damage of the snapshot"

run kv meta named.kv; code 0; grep -q -E '^snapshots +.*1 entries' out || fail "meta: no snapshots: $(cat out)"
run kv pages a.kv --quiet; code 0
grep -q -E '^leaf +[0-9]+ +[0-9]+ +[0-9]+ +0 +0$' out || fail "pages -q: $(cat out)"
[ "$(wc -l <out)" -lt 12 ] || fail 'pages -q: long'
run kv pages a.kv --json; code 0; quiet
[ "$(wc -l <out)" = "$count" ] || fail 'pages --json: not a line per page'
out_has '"owner":"tree","tree":"hidden","problem":null}'
if have jq; then
    [ "$(jq -c 'select(.type == "large" and .state == "used") | .first' <out | sort -u | wc -l)" = 1 ] ||
        fail 'pages: one large value, several beginnings'
fi

# ---- page ----
leaf=$(kv pages a.kv | awk '$2 == "leaf" && /used +tree hidden/ { print $1; exit }')
run kv page a.kv "$leaf"; code 0; quiet
out_has "page $leaf: leaf, used, tree hidden"; out_has ', right'; out_has 'prefix '
grep -q -E '^ +0  (key[0-9]+|\\xff\\n)  [0-9]+ bytes$' out || fail "page: no entry: $(cat out)"
run kv page a.kv "$leaf" --redact; code 0
grep -q -E 'key[0-9]|secret|hidden' out && fail 'page --redact: something is to be seen'
grep -q -E '^ +0  <[0-9]+ bytes>  [0-9]+ bytes$' out || fail "page --redact: no entry: $(cat out)"
run kv page a.kv "$leaf" --redact --json; code 0
grep -q -E 'key[0-9]|secret|hidden' out && fail 'page --redact --json: something is to be seen'
out_has '"key_length":7,"value_length":11,'
run kv page a.kv "$leaf" --redact --hex; code 2; err '--redact'
run kv page a.kv "$leaf" --hex; code 0
[ "$(grep -c -E '^0000[0-9a-f]{4}  ' out)" = 256 ] || fail 'page --hex: not 256 lines'
awk '/^0000[0-9a-f]+  / { for (i = 2; i < 18; i++) printf "%s", $i }' out >hex
dd if=a.kv bs=4096 skip="$leaf" count=1 status=none | od -An -v -tx1 | tr -d ' \n' >expected_hex
same expected_hex hex
root=$(kv meta a.kv --json | sed 's/.*"main":{"root":{"page":\([0-9]*\).*/\1/')
run kv page a.kv "$root"; code 0
grep -q -E '^ +0  page [0-9]+, birth [0-9]+, [0-9]+ entries, from the first$' out || fail "page: root"
grep -q -E '^ +1  page [0-9]+, birth [0-9]+, [0-9]+ entries, from key[0-9]+$' out || fail "page: root"
run kv page a.kv 0; code 0; out_has 'meta'
large=$(kv pages a.kv | awk '$2 == "large" { print $1; exit }')
run kv page a.kv "$large"; code 0; out_has 'first page'
run kv page a.kv 99999; code 1; err 'there is no page 99999'
run kv page a.kv x; code 2; err 'number of a page'
run kv page a.kv; code 2

# ---- damage ----
cp a.kv d.kv
printf '\xde\xad' | dd of=d.kv bs=1 seek=$((leaf * 4096 + 2000)) conv=notrunc status=none
run kv page d.kv "$leaf"; code 4; out_has 'DAMAGED      N9: its checksum'; out_has 'WRONG: should be'
run kv page d.kv "$leaf" --json; code 4; out_has '"problem":"N9"'; out_has '"checksum_ok":false'
run kv pages d.kv; code 4; grep -q -E "^ +$leaf .*N9: its checksum" out || fail 'pages: no damage'
run kv pages d.kv --json; code 4; out_has '"problem":"N9"'
printf '\xff\xff' | dd of=d.kv bs=1 seek=$((leaf * 4096 + 10)) conv=notrunc status=none
run kv page d.kv "$leaf"; code 4; out_has 'beyond reading'

# A write that was lost: in the place of a leaf stands what was there before, sound by itself.
leaf_and_birth() # file
{
    kv pages "$1" | awk '$2 == "leaf" && /used +main tree/ { print $1, $4 }'
}
kv put lost.kv key 0
kv put lost.kv key 1
cp lost.kv old.kv
read -r page birth < <(leaf_and_birth old.kv)
for i in {2..20}; do
    kv put lost.kv key "$i"
    read -r now newer < <(leaf_and_birth lost.kv)
    [ "$now" != "$page" ] || [ "$newer" = "$birth" ] || break
done
[ "$now" = "$page" ] || fail 'the page was not used again, this test tests nothing'
run kv page lost.kv "$page"; code 0
dd if=old.kv of=lost.kv bs=4096 skip="$page" seek="$page" count=1 conv=notrunc status=none
run kv check lost.kv; code 4; out_has 'N8'
run kv pages lost.kv; code 4; grep -q -E "^ +$page +leaf .*N8: it is not the page" out || fail "pages: $(cat out)"
run kv page lost.kv "$page"; code 4; out_has 'DAMAGED      N8'

head -c 50000 /dev/urandom >noise
for command in pages meta 'page 3'; do
    # shellcheck disable=SC2086 # words
    set -- $command
    run kv "$1" noise ${2-}; code 4; out; err 'is this the right file?'
    run kv "$1" none.kv ${2-}; code 3; err 'kv: none.kv: '
done

# ---- meta ----
run kv meta a.kv; code 0; quiet
grep -q -E '^ +meta 0 +meta 1$' out || fail "meta: $(cat out)"
grep -q -E '^state +sound +sound$' out || fail "meta: $(cat out)"
grep -q -E '^meta [01] is chosen: ' out || fail 'meta: none chosen'
run kv meta a.kv --json; code 0; quiet; out_has '"state":"sound"'; out_has '"chosen":true'
cp a.kv d.kv
printf '\xde' | dd of=d.kv bs=1 seek=100 conv=notrunc status=none
run kv meta d.kv; code 0
grep -q -E '^state +torn +sound$' out || fail "meta: torn: $(cat out)"
grep -q '^meta 0 is not chosen: its magic or checksum is wrong' out || fail 'meta: no reason'
grep -q '^meta 1 is chosen: ' out || fail 'meta: the sound one is not chosen'
printf '\xde' | dd of=d.kv bs=1 seek=$((4096 + 100)) conv=notrunc status=none
run kv meta d.kv; code 4
grep -q -E '^state +torn +torn$' out || fail "meta: both torn: $(cat out)"
run kv meta d.kv x.kv --choose 1; code 4; err 'meta 1 is not sound'
[ ! -e x.kv ] || fail 'meta made a copy of nothing'
run kv meta a.kv --choose 2 x.kv; code 2
run kv meta a.kv --choose 1; code 2; err 'belong together'
run kv meta a.kv x.kv; code 2; err 'belong together'

# What was replaced may lead behind the end that compaction made; that is no damage.
awk 'BEGIN { for (i = 0; i < 8000; i++) printf "%08x\t%0100d\n", i * 2654435761 % 4294967296, i }' |
    kv import short.kv -q
kv compact short.kv -q
run kv pages short.kv; code 0
grep -q -E '^ +[0-9]+ +branch .* dead ' out || fail 'compaction left no dead branch, this test tests nothing'
! grep -E ' N[0-9]: ' out || fail 'a page that is not in use counts as damaged'

# The older of two commits, which a program that was killed left as they are.
cp a.kv two.kv
kv put two.kv newer commit
newest=$(kv stat two.kv --json | sed 's/.*"commit_id":\([0-9]*\).*/\1/')
# a clean close leaves one commit in both; a lazy one behind it makes two
kv put two.kv newest commit --durability lazy
slot=$(kv meta two.kv --json | grep -o '"slot":[01],"state":"sound","chosen":[a-z]*,"reason":"[^"]*","commit":[0-9]*' |
    sed -n "s/\"slot\":\([01]\).*\"commit\":$newest\$/\1/p")
[ -n "$slot" ] || fail "no meta of commit $newest: $(kv meta two.kv)"
run kv meta two.kv older.kv --choose "$slot"; code 0; out; quiet
run kv check older.kv; code 0
run kv get older.kv newer; out commit
run kv has older.kv newest; code 1
kv put older.kv goes on
run kv check older.kv; code 0
run kv meta two.kv older.kv --choose "$slot"; code 3; err 'kv: older.kv: is there already'
same before a.kv

finish
