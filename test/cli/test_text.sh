#!/usr/bin/env bash
# The text form: `export | import` is exact, whatever the bytes; wrong input changes nothing.
. "$(dirname "$0")/common.sh"

tab=$'\t'

# ---- round trips ----
each_byte_text >bytes
run kv import a.kv bytes; code 0; out_has 'imported 256 entries in '
run kv count a.kv; out 256
printf '%s\n' 'A	value A!' 'B	value B!' >expected
run kv scan a.kv --from A --to C; same expected out
for i in 00 09 0a 0d 1f 20 5c 7e 7f 80 c3 ff; do
    run kv get -e a.kv "\\x$i" --raw; code 0
    printf "value \\x$i!" >expected; same expected out
done

random_text 3000 1 40 300 >random
run kv import r.kv random; code 0; quiet
for source in a r; do
    kv export $source.kv >text
    tr -d '\t' <text | LC_ALL=C grep -a -q '[[:cntrl:]]' && fail 'an export has control characters'
    run_with text kv import "$source-copy.kv"; code 0
    kv export "$source-copy.kv" >again
    same text again
    run kv export $source.kv --reverse; cp out reverse
    run kv import "$source-reverse.kv" reverse; code 0
    kv export "$source-reverse.kv" >again
    same text again
done
# the exact values, looked up one by one
awk -F '\t' 'NR % 300 == 0' random | while IFS=$tab read -r key value; do
    kv get -e r.kv "$key" --raw >got
    printf '%b' "$value" >expected
    cmp -s got expected || echo "$key differs"
done >differences
run cat differences; out

# ---- standard input, sources ----
printf 'k\tv\n' >one
run_with one kv import s.kv; code 0
run_with one kv import s.kv -; code 0
run kv import s.kv one --tree t; code 0
run kv get s.kv k --tree t; out v
run kv import s.kv one -q; code 0; out
cp one 'odd\name'
run kv import s.kv 'odd\name' --escaped --tree 'x\x41'; code 0
run kv get s.kv k --tree xA; out v
run kv import new.kv missing; code 3; err 'kv: missing: No such file'
run kv import new.kv .; code 3; err 'directory'
[ ! -e new.kv ] || run kv count new.kv
run kv import empty.kv /dev/null; code 0; out_has 'imported 0 entries'
run kv count empty.kv; out 0
printf 'k\tno newline at the end' >input
run kv import s.kv input; code 0; out_has 'imported 1 entry '
run kv get s.kv k; out 'no newline at the end'
printf 'k\ta\tb\n' >input
run kv import s.kv input; code 0
run kv get s.kv k; out 'a\tb'
printf 'k\tfirst\nk\tlast\n\tempty key\nempty value\t\n' >input
run kv import s.kv input; code 0
run kv get s.kv k; out last
run kv get s.kv ''; out 'empty key'
run kv get s.kv 'empty value'; out ''
printf 'k\tcr\r\n' >input
run kv import s.kv input; run kv get s.kv k; out 'cr\r'
printf 'raw\0key\traw\0value\xff\n' >input
run kv import s.kv input; run kv get -e s.kv 'raw\x00key'; out 'raw\x00value\xff'

# ---- lines longer than any buffer ----
head -c 3000000 /dev/urandom | base64 -w 0 >long
{ printf 'long\t'; cat long; echo; printf 'after\tit\n'; } >input
run kv import l.kv input; code 0
run kv get l.kv long --raw; same long out
run kv get l.kv after; out it

# ---- wrong lines: named, and nothing is imported ----
wrong() # line message
{
    printf 'good\tx\n%s\nlater\ty\n' "$1" >input
    run kv import w.kv input; code 3; err "kv: input: line 2: $2"; err 'w.kv: nothing was imported'
    run kv count w.kv; out 0
}
wrong 'no tab here' 'no tab'
wrong '' 'no tab'
wrong "k${tab}bad\\q" 'column 6: wrong escape'
wrong "k\\${tab}v" 'column 2: wrong escape'
wrong "k${tab}\\x4" 'column 3: wrong escape'
wrong "k${tab}\\xg0" 'column 3: wrong escape'
wrong "k${tab}v\\" 'column 4: wrong escape'
printf 'good\tx\n%s\tv\n' "$(head -c 1200 /dev/zero | tr '\0' k)" >input
run kv import w.kv input; code 3; err 'input, line 2: key kkkk'; err 'nothing was imported'
run kv count w.kv; out 0

# ---- batches ----
{ seq -f 'key%05g	v' 1 25; echo wrong; } >input
run kv import batch.kv input --batch 10; code 3; err 'the first 20 entries were imported'
run kv count batch.kv; out 20
seq -f 'key%05g	v' 1 25 >input
run kv import batch2.kv input --batch 10 --tree t; code 0; out_has 'imported 25 entries'
run kv count batch2.kv --tree t; out 25
run kv import batch3.kv input --batch 5 --durability lazy; code 0
run kv count batch3.kv; out 25
run kv import batch4.kv input --batch 1; code 0
run kv count batch4.kv; out 25

# ---- leaves that are left with room ----
pages() { kv stat "$1" --json | sed -n 's/.*"leaf_pages":\([0-9]*\).*/\1/p'; }
seq -f 'key%05g	v' 1 20000 >input
run kv import full.kv input; code 0
run kv import half.kv input --fill 50; code 0
[ "$(pages half.kv)" -ge $(($(pages full.kv) * 19 / 10)) ] || fail '--fill 50 did not leave half'
run kv copy half.kv full2.kv --compact; code 0
[ "$(pages full2.kv)" = "$(pages full.kv)" ] || fail 'a compact copy is not full'
run kv copy full.kv half2.kv --compact --fill 50; code 0
[ "$(pages half2.kv)" = "$(pages half.kv)" ] || fail 'copy --fill differs from import --fill'

# ---- more than the memory budget ----
run kv import small.kv random --memory 1M; code 0
kv export small.kv >text; kv export r.kv >again; same text again
run kv check small.kv; code 0

# ---- compression is invisible ----
{ printf 'big\t'; seq -s ' ' 1 20000; } >input
run kv import c.kv input --compress 1k; code 0
run kv get c.kv big; out "$(seq -s ' ' 1 20000)"
kv trees c.kv | grep -q '1.0 KiB$' || fail 'trees does not show the compression'
run kv import c.kv input --compress 4096 --tree z; code 0
run kv get c.kv big --tree z; out "$(seq -s ' ' 1 20000)"
run kv put c.kv k v --compress 0; code 0
kv trees c.kv | grep -q '^(main).*-$' || fail 'compression was not ended'

finish
