#!/usr/bin/env bash
# Ranges mean the same to scan, count, export and del; scan's forms of output.
. "$(dirname "$0")/common.sh"

tab=$'\t'
letters=({a..j})
for key in "${letters[@]}"; do printf '%s\t%s\n' "$key" "${key^}"; done >input
printf 'ba\tBA\nbb\tBB\n' >>input
run kv import a.kv input -q; code 0; out; quiet

# The keys that a range should give, one per line, come on standard input.
range() # options...
{
    local expected_keys
    expected_keys=$(cat)
    if [ -z "$expected_keys" ]; then : >keys; else echo "$expected_keys" >keys; fi
    tr '[:lower:]' '[:upper:]' <keys | paste keys - >entries
    [ -s keys ] || : >entries
    run kv scan a.kv "$@"; code 0; same entries out
    run kv scan a.kv "$@" --keys-only; code 0; same keys out
    run kv scan a.kv --values-only "$@"; code 0
    cut -f 2 entries >values; same values out
    run kv count a.kv "$@"; code 0; out "$(grep -c '' keys)"
    run kv export a.kv "$@"; code 0; same entries out
    # what del removes is what scan shows
    cp a.kv d.kv
    kv scan a.kv --keys-only | sort >all
    sort keys | comm -13 - all >rest
    case " $* " in *" --prefix= "*) set -- --all ;; *" --prefix"* | *" --from"* | *" --to"*) set -- "$@" ;; *) set -- "$@" --all ;; esac
    run kv del d.kv "$@"; code 0
    n=$(grep -c '' keys)
    if [ "$n" = 1 ]; then out 'deleted 1 entry'; else out "deleted $n entries"; fi
    run kv scan d.kv --keys-only; same rest out
}

printf '%s\n' a b ba bb {c..j} | range
printf '%s\n' {c..j} | range --from c
printf '%s\n' a b ba bb | range --to c
printf '%s\n' ba bb c d | range --from ba --to e
printf '%s\n' bb c | range --from b0 --to d --from bb
printf '%s\n' b ba bb | range --prefix b
printf '%s\n' ba bb | range --prefix b --from b0
printf '%s\n' b ba | range --prefix b --to bb
range --prefix bbb </dev/null
range --prefix z </dev/null
range --from z </dev/null
range --to a </dev/null
range --from e --to c </dev/null
range --from c --to c </dev/null
range --prefix b --from c </dev/null
printf '%s\n' a b ba bb {c..j} | range --prefix= --from=
range --to= </dev/null
printf '%s\n' a b ba | range --limit 3
printf '%s\n' d e | range --from d --limit 2
printf '%s\n' i j | range --from i --limit 20
range --limit 0 </dev/null
printf '%s\n' j i h g f e d c bb ba b a | range --reverse
printf '%s\n' j i | range --reverse --limit 2
printf '%s\n' bb ba | range --prefix b --reverse --limit 2
printf '%s\n' d c bb | range --from bb --to e --reverse
range --reverse --limit 0 </dev/null
run kv del a.kv --all --limit 0; code 0; out 'deleted 0 entries'

# ---- bounds are bytes ----
printf '%s\n' '\x00' '\x00\x00' '\x7f' '\x80' '\xff' '\xff\xff' | sed 's/$/\tv/' >input
run kv import b.kv input -q; code 0
run kv scan b.kv -k -e --prefix '\x00'; out '\x00' '\x00\x00'
run kv scan b.kv -k -e --prefix '\xff'; out '\xff' '\xff\xff'
run kv scan b.kv -k -e --from '\x7f' --to '\xff'; out '\x7f' '\x80'
run kv count b.kv -e --from '\xff\x00'; out 1
run kv scan b.kv -k --reverse --limit 1; out '\xff\xff'
run kv del b.kv -e --prefix '\xff'; out 'deleted 2 entries'

# ---- empty ones ----
run kv put c.kv x y; run kv del c.kv x
run kv scan c.kv; code 0; out
run kv count c.kv; code 0; out 0
run kv export c.kv; code 0; out
run kv del c.kv --all; code 0; out 'deleted 0 entries'
run kv put c.kv '' empty; run kv put c.kv a ''
run kv scan c.kv; out "${tab}empty" "a${tab}"
run kv scan c.kv --to a; out "${tab}empty"
run kv del c.kv --prefix a -q; code 0; out
run kv scan c.kv --reverse; out "${tab}empty"

# ---- a tree of its own ----
run kv put c.kv k v --tree t
run kv scan c.kv -t t; out "k${tab}v"
run kv count c.kv -t t; out 1
run kv del c.kv -t t --all; out 'deleted 1 entry'
run kv count c.kv -t t; code 0; out 0
run kv count c.kv; out 1

# ---- JSON ----
run kv put -e j.kv 'a"b\\c' 'tab\tnl\nbell\x07del\x7f'
run kv put -e j.kv 'é' '\xff\x00'
run kv put -e j.kv '\xc3' ''
run kv scan j.kv --json; code 0
out '{"key":"a\"b\\c","value":"tab\u0009nl\u000abell\u0007del\u007f"}' \
    '{"key":{"hex":"c3"},"value":""}' '{"key":"é","value":{"hex":"ff00"}}'
run kv scan j.kv --json --keys-only; out '{"key":"a\"b\\c"}' '{"key":{"hex":"c3"}}' '{"key":"é"}'
run kv scan j.kv --json --values-only --limit 1 --reverse; out '{"value":{"hex":"ff00"}}'
if have jq; then
    kv scan j.kv --json | jq -r 'select(.key == "a\"b\\c") | .value' >out
    printf 'tab\tnl\nbell\adel\x7f\n' >expected
    same expected out
fi

# ---- a bound that is empty, as that of an unset variable ----
kv import e.kv input -q
for bound in --prefix --from; do
    run kv del e.kv $bound ''; code 2; err '--all says that'
done
run kv del e.kv --from '' --to ''; code 0; out 'deleted 0 entries'
run kv del e.kv --prefix '' --limit 1; code 2
run kv del e.kv --if-equals v --value x k; code 2; err 'exclude each other'
run kv count e.kv; out "$(wc -l <input)"

finish
