#!/usr/bin/env bash
# All of a database is in the one file that was named: nothing stands beside it while it is open for
# writing, after it was closed, and after its writer was killed.
. "$(dirname "$0")/common.sh"

mkdir alone
mkfifo pipe
expect_alone() # moment
{
    [ "$(ls -A alone)" = one.kv ] || fail "$1: the folder has: $(ls -A alone | tr '\n' ' ')"
}

kv put alone/one.kv key value
expect_alone 'after put'

# Starts a writer that waits for more input, in the middle of its transaction.
start_writer() # line
{
    "$BUILD/kv" import alone/one.kv <pipe >said 2>&1 &
    writer=$!
    exec 3>pipe
    printf '%s\n' "$1" >&3
    for _ in {1..100}; do
        kv has alone/one.kv key --wait 0 2>/dev/null
        [ $? != 3 ] || break # busy: the writer has opened it
        sleep 0.05
    done
    run kv has alone/one.kv key --wait 0
    code 3
}

start_writer $'a\t1'
expect_alone 'while it is open'
exec 3>&-
wait $writer || fail "import: $(cat said)"
expect_alone 'after import'

start_writer $'b\t2'
kill -9 $writer
wait $writer 2>/dev/null
exec 3>&-
expect_alone 'after kill -9'
run kv check alone/one.kv
code 0
run kv count alone/one.kv
out 2
finish
