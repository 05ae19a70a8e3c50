#!/usr/bin/env bash
# put, get, del, has: single entries, escapes, conditions, trees.
. "$(dirname "$0")/common.sh"

# ---- store and look up ----
run kv put a.kv alice '+1 555 0100'; code 0; out; quiet
run kv get a.kv alice; code 0; out '+1 555 0100'; quiet
run kv get a.kv alice --raw; code 0
printf '+1 555 0100' >expected; same out expected
run kv put a.kv alice new; code 0
run kv get a.kv alice; out new
run kv get a.kv bob; code 1; out; err 'kv: a.kv: no key bob'
run kv get a.kv bob --quiet; code 1; out; quiet
run kv has a.kv alice; code 0; out; quiet
run kv has a.kv bob; code 1; out; quiet
run kv has a.kv alic; code 1

# ---- conditions ----
run kv put a.kv alice x --if-absent; code 1; err 'is there already'
run kv get a.kv alice; out new
run kv put a.kv carol x --if-absent; code 0
run kv put a.kv carol y --if-present; code 0
run kv get a.kv carol; out y
run kv put a.kv dave x --if-present; code 1; err 'no key dave'
run kv put a.kv dave x --if-present -q; code 1; quiet
run kv has a.kv dave; code 1
run kv put none.kv dave x --if-present; code 1; err 'no such file, thus no key dave'
[ ! -e none.kv ] || fail '--if-present created a file'

# ---- escapes out ----
run kv put a.kv esc $'tab\tnl\ncr\rbs\\bell\adel\x7f'; code 0
run kv get a.kv esc; out 'tab\tnl\ncr\rbs\\bell\x07del\x7f'
run kv put a.kv esc 'naïve €𝄞'; code 0
run kv get a.kv esc; out 'naïve €𝄞'
# not UTF-8: lone bytes, overlong forms, surrogates, beyond U+10FFFF, cut short; and C1 controls
while read -r escaped; do
    run kv put -e a.kv esc "$escaped"; code 0
    run kv get a.kv esc; out "$escaped"
done <<'END'
\x80
\xff\xfe
a\xc3
\xc0\x80
\xc1\xbf
\xe0\x80\x80
\xe0\x9f\xbf
\xed\xa0\x80
\xf0\x80\x80\x80
\xf0\x8f\xbf\xbf
\xf4\x90\x80\x80
\xf5\x80\x80\x80
\xe2\x82
\xe2\x82x
\xc2\x9b31m
END
run kv put -e a.kv esc '\xc2\xa0\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf'; code 0
run kv get a.kv esc; out $'\u00a0\ud7ff\ue000\U10ffff'

# ---- escapes in ----
run kv put a.kv 'lit\n' 'a\x41'; code 0
run kv get a.kv 'lit\n'; out 'a\\x41'
run kv put -e a.kv 'k\t\n\r\\\x00\xfF' 'v\x00'; code 0
run kv get -e a.kv 'k\t\n\r\\\x00\xff' --raw; code 0
printf 'v\0' >expected; same out expected
run kv has a.kv 'k\t\n\r\\\x00\xff'; code 1

# ---- standard input and binary values ----
head -c 300000 /dev/urandom >random
run_with random kv put a.kv bin -; code 0; quiet
run kv get a.kv bin --raw; code 0; same out random
kv get a.kv bin >text
printf 'bin\t' | cat - text >line
run_with line kv import b.kv; code 0
run kv get b.kv bin --raw; same out random
run kv put a.kv bin -; code 0 # empty input
run kv get a.kv bin --raw; code 0; out
run kv put -e a.kv dash '\x2d'; code 0
run kv get a.kv dash; out -
for size in 65535 65536 65537 131072; do
    head -c $size random >part
    run_with part kv put a.kv part -; code 0
    run kv get a.kv part --raw; same out part
done

# ---- del ----
run kv put a.kv x 1; run kv put a.kv y 2; run kv put a.kv z 3
run kv del a.kv x; code 0; out; quiet
run kv has a.kv x; code 1
run kv del a.kv x y nope z; code 1; err 'no key x'; err 'no key nope'
run kv has a.kv y; code 1
run kv has a.kv z; code 1
run kv del a.kv nope -q; code 1; quiet
run kv put a.kv x 1; run kv del -e a.kv '\x78'; code 0

# ---- trees ----
run kv put a.kv same main; code 0
run kv put a.kv same other --tree other; code 0
run kv get a.kv same; out main
run kv get a.kv same --tree other; out other
run kv get a.kv same --tree none; code 1; err 'no tree none'; err 'kv trees'
for command in scan count export; do
    run kv $command a.kv --tree none; code 1; err 'no tree none'
done
run kv has a.kv same --tree none; code 1
run kv del a.kv same --tree none; code 1; err 'no tree none'
run kv del a.kv --all --tree none; code 1
run kv del a.kv same --tree other; code 0
run kv get a.kv same; out main
run kv put -e a.kv k v --tree 'new\nline'; code 0
run kv get -e a.kv k --tree 'new\x0aline'; out v
run kv put a.kv k v --tree ''; code 2; err '--tree needs a name'

# ---- options of a new file and tree ----
run kv put big.kv "$(head -c 1200 /dev/zero | tr '\0' k)" v; code 3; err 'longer'
run kv put big.kv k v --page-size 8k; code 0
for size in 4k 8192 16k 32K 64KiB; do
    run kv put "p$size.kv" k v --page-size $size; code 0
    run kv get "p$size.kv" k; out v
done
run kv put p64KiB.kv "$(head -c 12000 /dev/zero | tr '\0' k)" v; code 0
for durability in strict durable lazy; do
    run kv put a.kv d $durability --durability $durability; code 0
    run kv get a.kv d; out $durability
done
if have strace && strace -o trace true 2>/dev/null; then
    for expected in 0:lazy 1:durable 1: 2:strict; do
        durability=${expected#*:}
        kv put a.kv flushed before # so that nothing older needs a flush
        # the leak checker does not work under strace
        run env ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0" strace -f -o trace \
            "$BUILD/kv" put a.kv flushed x ${durability:+--durability "$durability"}
        code 0
        flushes=$(grep -c -E '(fdatasync|fsync)\(' trace)
        [ "$flushes" = "${expected%:*}" ] || fail "put, $durability: $flushes flushes"
    done
fi

finish
