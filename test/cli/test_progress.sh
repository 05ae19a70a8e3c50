#!/usr/bin/env bash
# Progress: on a terminal only, on standard error, and gone in the end.
. "$(dirname "$0")/common.sh"
script --version >/dev/null 2>&1 || skip_all 'no script(1) of util-linux'
script -q -e -c true /dev/null </dev/null >/dev/null 2>&1 || skip_all 'no terminals to be had here'

# Entries for about a second: a source that is slow, however fast the machine is.
# A file of its own: a shell between would drop an exported function.
cat >slow_source <<'EOF'
for i in {1..24}; do
    for j in {1..40}; do echo "key$i-$j	value"; done
    sleep 0.05
done
EOF

on_terminal() # command, its output to file `terminal`
{
    script -q -e -c "$1" typescript </dev/null >/dev/null
    ended $? "$1"
    sed 1d typescript | grep -v '^Script ' | tr -d '\n' >terminal
    : >err
}
export BUILD

on_terminal 'bash slow_source | "$BUILD/kv" import a.kv'
code 0
grep -q -E $'\r[0-9]+ entries, [0-9,]+/s' terminal || fail "no progress: $(cat -v terminal)"
grep -q -E $'\r +\r(imported 960 entries.*)?$' terminal || fail "the line was left there: $(cat -v terminal)"
run kv count a.kv; out 960

on_terminal 'bash slow_source | "$BUILD/kv" import b.kv --quiet'
code 0
grep -q 'entries' terminal && fail 'progress in spite of --quiet'

on_terminal 'bash slow_source | "$BUILD/kv" import c.kv 2>file'
code 0
grep -q '/s,' terminal && fail 'progress on standard output'
run cat file; out

# a message stands on a line of its own, below no progress
on_terminal '(bash slow_source; echo wrong) | "$BUILD/kv" import d.kv'
code 3
grep -q -E $'\r +\rkv: standard input: line 961: no tab' terminal || fail "message: $(cat -v terminal)"

# quick work shows nothing
on_terminal '"$BUILD/kv" check a.kv'
code 0
grep -q 'pages,' terminal && fail 'progress of quick work'

finish
