#!/usr/bin/env bash
# cas, swap, incr, append, pop, and the conditions of put and del: what they change, what they print,
# what they leave alone when a condition does not hold.
. "$(dirname "$0")/common.sh"

# ---- conditions on the old value ----
run kv put a.kv k one; code 0
run kv put a.kv k two --if-equals none; code 1; out; err 'key k has another value'
run kv get a.kv k; out one
run kv put a.kv k two --if-equals one; code 0; quiet
run kv get a.kv k; out two
run kv put a.kv absent x --if-equals ''; code 1; err 'no key absent'
run kv put a.kv absent x --if-equals '' -q; code 1; quiet
run kv has a.kv absent; code 1
run kv put a.kv k x --if-equals two --if-present; code 2; err 'exclude each other'
run kv put none.kv k x --if-equals y; code 1
[ ! -e none.kv ] || fail '--if-equals created a file'
run kv put -e a.kv k '\x00' --if-equals '\x74wo'; code 0
run kv del a.kv k --if-equals two; code 1; err 'has another value'
run kv del -e a.kv k --if-equals '\x00'; code 0
run kv del -e a.kv k --if-equals '\x00'; code 1; err 'no key k'
run kv del a.kv k l --if-equals x; code 2; err 'one key'
run kv del a.kv --all --if-equals x; code 2

# ---- cas ----
run kv cas a.kv lock --from-absent me; code 0; quiet
run kv cas a.kv lock --from-absent you; code 1; err 'is there already'
run kv cas a.kv lock you me; code 1; err 'has another value'
run kv cas a.kv lock me you; code 0; quiet
run kv get a.kv lock; out you
run kv cas a.kv lock --to-absent me; code 1
run kv cas a.kv lock --to-absent you; code 0
run kv cas a.kv lock --to-absent you; code 1; err 'no key lock'
run kv cas a.kv lock a; code 2; err 'needs KEY, OLD and NEW'
run kv cas a.kv lock a b --from-absent; code 2; err 'needs KEY and NEW'
run kv cas a.kv lock a b --to-absent; code 2; err 'needs KEY and OLD'
run kv cas a.kv lock a --to-absent --from-absent; code 2
run kv cas new.kv lock --from-absent me --tree t; code 0
run kv get new.kv lock --tree t; out me

# ---- swap ----
run kv swap a.kv s one; code 0; out; quiet
run kv swap a.kv s 'two' --json; code 0; out '{"key":"s","old":"one"}'
run kv swap a.kv s three; code 0; out two
run kv swap a.kv s; code 0; out three
run kv has a.kv s; code 1
run kv swap a.kv s; code 1; out; err 'no key s'
run kv swap a.kv s x --json; code 0; out '{"key":"s","old":null}'
run kv swap -e a.kv s '\x00\xff' --raw; code 0
printf x >expected; same out expected
run kv swap a.kv s; out '\x00\xff'

# ---- incr ----
run kv incr a.kv n; code 0; out 1
run kv incr a.kv n 41; out 42
run kv incr a.kv n -50; out -8
run kv get a.kv n; out -8
run kv incr a.kv m 5 --initial 100; out 105
run kv incr a.kv m 5 --initial 100; out 110
run kv incr a.kv m --initial=-7 --tree t; out -6
run kv put a.kv max 9223372036854775807; run kv put a.kv word forty
run kv incr a.kv max; code 1; out; err 'range of 64 bits'; err 'nothing was changed'
run kv incr a.kv word; code 1; out; err 'not a 64-bit number'
run kv incr a.kv max 0.5; code 2; err 'whole numbers'
run kv incr a.kv max 9223372036854775808; code 2
run kv incr a.kv max one; code 2
run kv incr a.kv max 1 --initial x; code 2
run kv get a.kv max; out 9223372036854775807
run kv get a.kv word; out forty
run kv incr a.kv f 0.1 --float; out 0.1
run kv incr a.kv f 0.2 --float; out 0.30000000000000004
run kv get a.kv f; out 0.30000000000000004
run kv incr a.kv f; code 1; err '--float'
run kv incr a.kv f inf --float; code 2
run kv incr a.kv f 0x1p3 --float; code 2; err 'as 2.5 or 1e-3'
run kv incr a.kv f 1 --float --initial 0x10; code 2
run kv put a.kv huge 1.7e+308
run kv incr a.kv huge 1e308 --float; code 1; err 'range'
run kv incr a.kv bin 258 --binary; out 258
run kv get a.kv bin; out '\x02\x01\x00\x00\x00\x00\x00\x00'
run kv incr a.kv bin; code 1; err 'not a 64-bit number in decimal text'
run kv incr a.kv bin -1 --binary; out 257
run kv incr a.kv real 0.5 --binary --float; out 0.5

# ---- append ----
run kv append a.kv l one; code 0; quiet
run kv append a.kv l ,two; code 0
run kv get a.kv l; out one,two
run kv append a.kv l x --max-size 7; code 1; err 'too many'
run kv append a.kv l x --max-size 8; code 0
run kv append a.kv l x --max-size 0; code 2
printf '\0more' >behind
run_with behind kv append a.kv l -; code 0
run kv get a.kv l; out 'one,twox\x00more'

# ---- pop ----
for key in q:1 q:2 q:3 r:1; do run kv put p.kv $key "job $key"; done
run kv pop p.kv --prefix q:; code 0; out $'q:1\tjob q:1'
run kv pop p.kv --prefix q: --last --json; code 0; out '{"key":"q:3","value":"job q:3"}'
run kv pop p.kv --prefix q: --values-only; code 0; out 'job q:2'
run kv pop p.kv --prefix q:; code 1; out; err 'nothing there'
run kv pop p.kv --prefix q: -q; code 1; quiet
run kv pop p.kv --from a --to r; code 1
run kv pop p.kv; code 0; out $'r:1\tjob r:1'
run kv pop p.kv; code 1
run kv pop none.kv; code 3
run kv put p.kv --tuple '("q", 1)' first
run kv pop p.kv --tuple --prefix '("q")'; code 0; out $'("q", 1)\tfirst'

# ---- many at once ----
for ((i = 0; i < 20; i++)); do
    kv incr c.kv n >>sums 2>>failed || echo "incr: $?" >>failed &
    kv cas c.kv once --from-absent $i 2>/dev/null && echo $i >>won &
    kv append c.kv bytes x 2>>failed || echo "append: $?" >>failed &
done
wait
[ ! -s failed ] || fail "$(head -n 5 failed)"
run kv get c.kv n; out 20
sort -n sums | uniq >distinct; seq 20 >expected; same distinct expected
[ "$(wc -l <won)" = 1 ] || fail "$(wc -l <won) commands were first"
run kv get c.kv once; out "$(cat won)"
run kv get c.kv bytes; out "$(printf 'x%.0s' {1..20})"
run kv check c.kv -q; code 0

# ---- what is refused makes no file ----
no_file() # code command...
{
    run kv "${@:2}"
    code "$1"
    [ ! -e absent.kv ] || fail "kv ${*:2}: made a file"
    rm -f absent.kv*
}
no_file 1 append absent.kv a xxx --max-size 1; err 'the limit is 1; nothing was changed'
no_file 1 incr absent.kv a 1 --initial 9223372036854775807; err 'nothing was changed'
no_file 1 incr absent.kv a 1e308 --float --initial 1e308
no_file 2 incr absent.kv a x
no_file 2 incr absent.kv a --multi --tree n
no_file 2 put absent.kv a b --multi --tree n --ttl 1s
run kv incr absent.kv a -1 --initial -9223372036854775807; code 0; out -9223372036854775808
run kv incr absent.kv a 1 --initial 9223372036854775807; code 0; out -9223372036854775807

# ---- no condition holds in a file that is not there ----
rm -f absent.kv*
no_file 1 put absent.kv a b --if-present; err 'absent.kv: no such file, thus no key a'
no_file 1 put absent.kv a b --if-equals c -q; quiet
no_file 1 cas absent.kv a b c --json; out '{"key":"a","changed":false}'
no_file 1 cas absent.kv a b --to-absent
no_file 1 del absent.kv a --if-equals b
[ ! -e absent.kv ] || fail 'made a file'
run kv del absent.kv a; code 3

# ---- options that all of them have ----
run kv incr e.kv n -e --initial 12345678; code 0; out 12345679
run kv incr e.kv n2 -e --tree t --initial 5; code 0; out 6
run kv incr e.kv n -e --initial '5\x00zz'; code 2; err 'no number'
run kv incr e.kv n +1; code 0; out 12345680
run kv incr e.kv n -- +-1; code 2
for change in 'swap x.kv k v' 'cas x.kv k --from-absent v' 'incr x.kv k' 'append x.kv k v'; do
    rm -f x.kv
    # shellcheck disable=SC2086 # words
    run kv $change --compress 100; code 0
    kv trees x.kv --json | grep -q '"compress_from":100[,}]' || fail "$change: --compress: $(kv trees x.kv --json)"
done

finish
