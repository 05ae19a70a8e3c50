#!/usr/bin/env bash
# What takes the room in a file.
. "$(dirname "$0")/common.sh"

for i in {100..139}; do printf 'user:%s:name\tAnn\n' "$i"; done >input
for i in {100..109}; do printf 'log:2024:%s\t%0500d\n' "$i" 0; done >>input
printf 'plain\tx\nlong%0300d\tx\n' 0 >>input
run kv import a.kv input -q; code 0
head -c 200000 /dev/zero >big; kv put a.kv user:7:photo - <big
kv put a.kv --tree tags --multi a:1 x; kv put a.kv --tree tags a:1 y
run kv top a.kv --json; code 0; quiet; cp out top
if have jq; then
    run jq -c '[.trees[] | [.name, .entries]]' top; out '[[null,53],["tags",2]]'
    kv top a.kv --json >top
    run jq -c '[.values[0] | .key, .value_bytes]' top; out '["user:7:photo",200000]'
    run jq -c '[.keys[0] | (.key | length), .key_bytes]' top; out '[304,304]'
    run jq -c '.prefixes | map([.tree, .key, .entries])' top
    out '[[null,"user:",41],[null,"log:",10],["tags","a:",2],[null,"",2]]'
    kv top a.kv --json --depth 2 --tree tags --limit 1 >top
    run jq -c '[.prefixes, .values | length]' top; out '[1,1]'
    kv top a.kv --json --depth 2 --limit 1 >top
    run jq -r '.prefixes[0].key' top; out user:7:
    kv top a.kv --json --delimiter 2024 >top
    run jq -c '.prefixes | map(.key)' top; out '["","log:2024",""]'
    # all prefixes together are all leaves and large pages
    kv top a.kv --json --limit 1000 >top
    sum=$(jq '[.prefixes[] | .disk_bytes] | add' top)
    pages=$(kv trees a.kv --json | jq '[.[] | .leaf_pages + .large_pages] | add')
    [ "$sum" = $((pages * 4096)) ] || fail "prefixes have $sum bytes, $pages pages"
fi
run kv top a.kv; code 0; out_has 'largest values'; out_has '195.3 KiB'; out_has user:7:photo
run kv top a.kv --delimiter=; code 2
run kv top a.kv --depth 100; code 2
run kv top a.kv --tree none; code 1; err 'no tree none'
kv put t.kv --tuple '("a", 1)' x
run kv top t.kv --tuple --json; out_has '(\"a\", 1)'

# a snapshot
kv put s.kv old 1; kv snapshot create s.kv before; kv put s.kv new 2
run kv top s.kv --json --at before; code 0; out_has '"key":"old"'
! grep -q '"key":"new"' out || fail 'top --at shows what is newer'
run kv top s.kv --at none; code 1; err 'no snapshot none'

# the main tree alone; keys of a tree of several values count as they are read
kv put n.kv main 1; kv put n.kv --tree tags --multi k v
run kv top n.kv --tree '' --json; code 0; out_has '"key":"main"'
! grep -q tags out || fail "top --tree '' shows another tree"
run kv top n.kv --json --tree tags; code 0; out_has '"key":"k","key_bytes":1,'
kv snapshot create n.kv one; kv put n.kv more 2; kv put n.kv --tree tags x y
run kv diff n.kv one --tree ''; code 0; out $'+\t\tmore\t2'
run kv sweep n.kv --tree ''; code 0

# keys as tuples
kv put --tuple u.kv '("order", 1)' x
run kv top u.kv --tuple; code 0; out_has '("order", 1)'

finish
