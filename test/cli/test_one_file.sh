#!/usr/bin/env bash
# All that lasts is in the one file that was named. While it is shared, a side file lies beside it;
# the last one to leave removes it, and after a kill the next one does.
. "$(dirname "$0")/common.sh"

mkdir alone
mkfifo pipe
expect_alone() # moment
{
    [ "$(ls -A alone)" = one.kv ] || fail "$1: the folder has: $(ls -A alone | tr '\n' ' ')"
}

expect_shared() # moment
{
    [ "$(ls -A alone | paste -s -d ' ')" = 'one.kv one.kv-lock' ] ||
        fail "$1: the folder has: $(ls -A alone | tr '\n' ' ')"
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
        kv del alone/one.kv none -q --wait 0 2>/dev/null
        [ $? != 3 ] || break # busy: the writer has begun
        sleep 0.05
    done
    run kv del alone/one.kv none --wait 0
    code 3
}

start_writer $'a\t1'
expect_shared 'while it is open'
run kv get alone/one.kv key
out value
expect_shared 'after another one has left'
exec 3>&-
wait $writer || fail "import: $(cat said)"
expect_alone 'after import'

start_writer $'b\t2'
kill -9 $writer
wait $writer 2>/dev/null
exec 3>&-
expect_shared 'after kill -9'
run kv check alone/one.kv
code 0
expect_alone 'after the next one'
run kv count alone/one.kv
out 2

# What a side file says that nobody uses does not matter.
head -c 8192 /dev/urandom >alone/one.kv-lock
run kv get alone/one.kv a
out 1
expect_alone 'after noise in its place'
finish
