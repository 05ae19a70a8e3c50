#!/usr/bin/env bash
# docs/operations.md names only calls of kv.h, commands and tests that exist.
. "$SRC/test/cli/common.sh"

page=$SRC/docs/operations.md

# shellcheck disable=SC2016 # backquotes of the page, not of the shell
names() { grep -oE '`[^`]+`' "$page" | tr -d '`'; }

names | grep -oE '\b(kv|KV)_[A-Za-z_]+' | sort -u >calls
[ "$(wc -l <calls)" -gt 60 ] || fail "the page names too few calls"
while read -r call; do
    grep -qw "$call" "$SRC/include/kv.h" || fail "kv.h has no $call"
done <calls

names | sed -n 's/^kv \([a-z]*\).*/\1/p' | sort -u >commands
[ "$(wc -l <commands)" -gt 20 ] || fail "the page names too few commands"
while read -r command; do
    kv help "$command" >/dev/null || fail "there is no command $command"
done <commands

grep -oE '[a-z/]*test_[a-z_]+\.(c|sh)' "$page" | sort -u >tests
while read -r test; do
    [ -e "$SRC/$test" ] || [ -e "$SRC/test/unit/$test" ] || [ -e "$SRC/test/cli/$(basename "$test")" ] ||
        fail "there is no test $test"
done <tests

finish
