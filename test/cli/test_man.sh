#!/usr/bin/env bash
# docs/kv.1 and the command's own help name the same commands and options.
. "$(dirname "$0")/common.sh"
page=$SRC/docs/kv.1

kv help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' | sort >commands
[ "$(wc -l <commands)" -gt 10 ] || fail "few commands: $(cat commands)"
sed -n '/^\.Sh COMMANDS/,/^\.Sh OPTIONS/s/^\.It Cm \([a-z]*\).*/\1/p' "$page" | sort -u >documented
same commands documented

while read -r command; do
    kv help "$command" | sed -n '/^options:/,/^$/p' | grep -o -E '^ +(-[a-z], +)?--[a-z-]+' |
        sed 's/.*--//'
done <commands | cat - <(printf '%s\n' help version) | sort -u >options
[ "$(wc -l <options)" -gt 20 ] || fail "few options: $(cat options)"
sed -n '/^\.Sh OPTIONS/,/^\.Sh TEXT/p' "$page" | grep '^\.It' | grep -o -E 'Fl -[a-z-]+' |
    sed 's/Fl -//' | sort -u >documented
same options documented

# the same letters
while read -r command; do
    kv help "$command" | grep -o -E '^  -[a-z],  --[a-z-]+' | tr -d ' ,' | sed 's/^-//; s/--/ /'
done <commands | cat - <(echo h help) | sort -u >letters
sed -n '/^\.Sh OPTIONS/,/^\.Sh TEXT/p' "$page" |
    sed -n 's/^\.It Fl \([a-z]\) , Fl -\([a-z-]*\).*/\1 \2/p' | sort -u >documented
same letters documented

# the words of a choice
for words in 'strict|durable|lazy' 'text|mdb_dump|db_dump'; do
    kv help import | grep -q -F -e "$words" || fail "kv help import lacks $words"
    for word in ${words//|/ }; do
        grep -q -E "^(\.Cm|\.It Fl -format Cm) .*\b$word\b" "$page" || fail "the page lacks $word"
    done
done

if have mandoc; then
    mandoc -Tlint -Wwarning "$page" >out || fail "mandoc: $(cat out)"
fi
finish
