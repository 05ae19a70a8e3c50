#!/usr/bin/env bash
# salvage: what is recovered, what is said to be lost, exit status; check: the way to a problem.
. "$(dirname "$0")/common.sh"

harm() # file page [offset [bytes]]: overwrites a part of a page
{
    printf '%*s' "${4:-64}" '' | tr ' ' '\276' |
        dd of="$1" bs=1 seek=$(($2 * 4096 + ${3:-0})) conv=notrunc status=none
}

page_of() # type owner [nth]: number of a page of a.kv
{
    kv pages a.kv | awk -v type="$1" -v owner="$2" -v nth="${3:-1}" '
        $2 == type && $6 == "used" && substr($0, index($0, "used") + 8) == owner && ++n == nth {
            print $1; exit }'
}

whole() # file: all its trees, as text
{
    kv export "$1"
    kv trees "$1" --json | grep -o '"name":"[^"]*"' | cut -d '"' -f 4 | while read -r tree; do
        echo "$tree:"
        kv export "$1" -t "$tree"
    done
}

for i in {1000..4999}; do printf 'key%d\tvalue %d\n' "$i" "$i"; done >input
kv import a.kv input -q
sed 's/^key/number/' input | kv import a.kv - -q --tree numbers
seq -f 'k%g	v' 1 5 | kv import a.kv - -q --tree small
head -c 20000 /dev/urandom >big
kv put a.kv zz-big - <big
cp a.kv before

# ---- a sound file ----
run kv salvage a.kv s.kv; code 0; quiet
out_has 'main tree: 4,001 entries recovered, 0 lost'
out_has 'tree numbers: 4,000 entries recovered, 0 lost'
same <(whole a.kv) <(whole s.kv)
run kv check s.kv; code 0
same before a.kv
run kv salvage a.kv s.kv; code 3; err 'kv: s.kv: is there already'
run kv salvage a.kv; code 2; err 'DEST is missing'
run kv salvage none.kv t.kv; code 3; err 'kv: none.kv: '
[ ! -e t.kv ] || fail 'salvage of nothing made a file'

# ---- a leaf: its keys and no others ----
leaf=$(page_of leaf 'main tree' 3)
first=$(kv page a.kv "$leaf" | awk '$1 == "0" { print $2 }')
entries=$(kv page a.kv "$leaf" --json | grep -o '"value_length"' | wc -l)
cp a.kv d.kv; harm d.kv "$leaf"
rm -f s.kv
run kv salvage d.kv s.kv; code 1; quiet
out_has "unusable: page $leaf "
grep -q "^lost: main tree: $entries entries, keys from key[0-9]* to before key[0-9]*\$" out ||
    fail "no range: $(cat out)"
run kv has s.kv "$first"; code 1
run kv count s.kv; out $((4001 - entries))
same <(kv export s.kv -t numbers) <(kv export a.kv -t numbers)
same before a.kv
run kv check d.kv; code 4; err 'kv salvage'
root=$(kv meta a.kv --json | sed 's/.*"main":{"root":{"page":\([0-9]*\).*/\1/')
grep -q "\[main tree: $root@[0-9]* $leaf\]\$" out || fail "check: no path: $(cat out)"
run kv check d.kv --json; code 4
grep -q "\"path\":\"main tree: $root@[0-9]* $leaf\"" out || fail "check: no path: $(cat out)"
rm -f s.kv
run kv salvage d.kv s.kv --json; code 1; quiet
out_has "{\"lost\":\"page\",\"tree\":null,\"page\":$leaf,"
out_has "\"entries\":$entries,\"found_entries\":0,\"page\":$leaf}"
out_has '{"tree":"numbers","entries":4000,"missing_entries":0,'
out_has "{\"ok\":false,\"commit_id\":"
if have jq; then
    jq -c . out >/dev/null || fail 'not a JSON object per line'
fi

# ---- a large value: its key ----
cp a.kv d.kv; harm d.kv "$(page_of large 'main tree' 1)"
rm -f s.kv
run kv salvage d.kv s.kv; code 1; out_has 'lost: main tree: key zz-big: '
out_has 'main tree: 4,000 entries recovered, 1 lost'
same <(kv export s.kv) input

# ---- a root: its leaves are found ----
cp a.kv d.kv; harm d.kv "$root" 0 4096
rm -f s.kv
run kv get d.kv key1000; code 4; err 'kv salvage'
run kv salvage d.kv s.kv; code 0; out_has 'main tree: 4,001 entries recovered, 0 lost'
same <(kv export a.kv) <(kv export s.kv)
run kv get s.kv zz-big --raw; same out big

# ---- the catalog: trees without a name ----
cp a.kv d.kv; harm d.kv "$(page_of leaf catalog)"
rm -f s.kv
run kv salvage d.kv s.kv; code 1; out_has 'lost: trees: 2 names, all keys'
out_has 'tree lost+found-1: '; out_has 'tree lost+found-2: '
same <(kv export s.kv) <(kv export a.kv)
same <(for t in 1 2; do kv export s.kv -t lost+found-$t; done | sort) \
    <(for t in numbers small; do kv export a.kv -t $t; done | sort)

# ---- a file that was cut in half: what is in lost+found is not called lost ----
head -c $(($(stat -c %s before) / 8192 * 4096)) before >d.kv
rm -f s.kv
run kv salvage d.kv s.kv; code 1; quiet
out_has 'missing: main tree: 4,001 entries, all keys; they are lost, or among '
out_has 'main tree: 0 entries recovered, 4,001 lost or in lost+found'
grep -q '^lost: main tree\|^lost: tree lost+found' out && fail "what was found is called lost: $(cat out)"
rm -f s.kv
run kv salvage d.kv s.kv --json; code 1
grep -q '"missing_entries":4001,"found_entries":\([1-9][0-9]*\),"lost_entries":' out || fail "no totals: $(cat out)"
found=$(sed -n 's/.*"missing_entries":4001,"found_entries":\([0-9]*\),"lost_entries":\([0-9]*\),.*/\1 \2/p' out | tail -n 1)
[ $((${found% *} + ${found#* })) -ge 4001 ] || fail "the totals do not add up: $found"

# ---- both metas ----
cp a.kv d.kv; harm d.kv 0 8 8; harm d.kv 1 8 8
run kv get d.kv key1000; code 4
rm -f s.kv
run kv salvage d.kv s.kv; code 0; out_has 'both metas are damaged'
same <(whole a.kv) <(whole s.kv)
cp a.kv d.kv; harm d.kv 0 0 4096; harm d.kv 1 0 4096
rm -f s.kv
run kv salvage d.kv s.kv; code 1; out_has 'both metas are gone'; out_has 'seed of the checksums'
for tree in numbers small; do same <(kv export s.kv -t $tree) <(kv export a.kv -t $tree); done
same <(kv export a.kv) <(kv export s.kv)

# ---- nothing ----
head -c 50000 /dev/urandom >noise
run kv salvage noise t.kv; code 3; out; err 'kv: noise: '
[ ! -e t.kv ] || fail 'salvage of noise made a file'
for file in *.tmp-*; do [ ! -e "$file" ] || fail "$file is left"; done

finish
