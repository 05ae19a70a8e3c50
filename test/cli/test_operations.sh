#!/usr/bin/env bash
# docs/operations.md: each call is in kv.h and in a test that its row names, commands and options exist.
. "$SRC/test/cli/common.sh"

page=$SRC/docs/operations.md

# shellcheck disable=SC2016 # backquotes of the page, not of the shell
names() { grep -oE '`[^`]+`' "${1:-$page}" | tr -d '`'; }

names | grep -oE '\b(kv|KV)_[A-Za-z_]+' | sort -u >calls
[ "$(wc -l <calls)" -gt 90 ] || fail "the page names too few calls"
while read -r call; do
    grep -qw "$call" "$SRC/include/kv.h" || fail "kv.h has no $call"
done <calls

kv help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' >commands
[ "$(wc -l <commands)" -gt 30 ] || fail "kv help lists too few commands"
names | grep '^kv ' | sort -u >uses
[ "$(wc -l <uses)" -gt 60 ] || fail "the page names too few commands"
while read -r _ command rest; do
    [ "$command" = help ] && continue
    grep -qx "$command" commands || fail "there is no command $command"
    kv help "$command" >help
    for word in $rest; do
        case $word in
        --*) grep -q -- "^ .* $word\b" help || fail "kv $command has no $word" ;;
        [a-z]*) grep -qw "$word" help || fail "kv $command knows no $word" ;;
        esac
    done
done <uses

find_test() # name
{
    local path
    for path in "$SRC/$1" "$SRC/test/unit/$1" "$SRC/test/cli/$1"; do
        [ ! -e "$path" ] || { echo "$path"; return; }
    done
    fail "there is no test $1" >&2
}

# Rows: what is there, calls, commands, tests. Each call is in one of the tests.
grep -E '^\|.*test_[a-z_]+\.(c|sh) \|$' "$page" >rows
[ "$(wc -l <rows)" -gt 90 ] || fail "too few rows name a test"
grep -E '^\|([^|]*\|){4}$' "$page" | grep -v -e '^| there' -e '^|---' | cmp -s - rows ||
    fail "a row names no test"
while IFS='|' read -r _ there calls _ tests; do
    echo "$calls" >cell
    paths=()
    for test in $(grep -oE '[a-z/]*test_[a-z_]+\.(c|sh)' <<<"$tests"); do
        path=$(find_test "$test")
        paths+=("${path:-/dev/null}")
    done
    names cell | grep -oE '\b(kv|KV)_[A-Za-z_]+' | sort -u >calls
    while read -r call; do
        grep -qw "$call" "${paths[@]}" || fail "$there: $call is not in $tests"
    done <calls
done <rows

finish
