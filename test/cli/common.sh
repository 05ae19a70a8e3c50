#!/usr/bin/env bash
# What the tests of the command share. A test sources this file, runs commands and says what it
# expects; it ends with `finish`. Each failure prints the line of the test and goes on.
#
# Environment: BUILD (folder with kv), SRC (repository root), TMPDIR.
set -u
export LC_ALL=C.UTF-8 # \u in the tests is a UTF-8 character
: "${SRC:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}"
: "${BUILD:=$SRC/build}"

scratch=$(mktemp -d "${TMPDIR:-/tmp}/kv-cli.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
mkdir count # a line per check and per failure: in files, since tests use pipelines, thus subshells
: >count/checks
: >count/failures

# A relative BUILD is meant from where the test began.
case $BUILD in /*) ;; *) BUILD=$OLDPWD/$BUILD ;; esac
[ -x "$BUILD/kv" ] || { echo "no $BUILD/kv"; exit 1; }

kv()
{
    "$BUILD/kv" "$@"
}

fail() # message...
{
    local lines='' i
    for ((i = 0; i < ${#BASH_LINENO[@]} - 1; i++)); do
        [ "${BASH_SOURCE[i + 1]}" = "${BASH_SOURCE[0]}" ] || lines+=${lines:+,}${BASH_LINENO[i]}
    done
    echo >>"$scratch/count/failures"
    echo "$(basename "$0"):$lines: $*"
    [ "$(wc -l <"$scratch/count/failures")" -lt 20 ] || { echo 'too many failures'; exit 1; }
}

# Runs a command with empty input; what follows is about its result.
run() # command...
{
    last="$*"
    "$@" >out 2>err </dev/null
    status=$?
}

# As run, with standard input from a file.
run_with() # file command...
{
    local input=$1
    shift
    last="$* <$input"
    "$@" >out 2>err <"$input"
    status=$?
}

# The result of a command that the test ran by itself; its messages are in the file err.
ended() # status command
{
    status=$1
    last=$2
}

code() # expected
{
    echo >>"$scratch/count/checks"
    [ "$status" = "$1" ] || fail "$last: exit status $status, not $1; $(head -c 300 err)"
}

# Standard output is exactly these lines; no argument: nothing.
out() # line...
{
    echo >>"$scratch/count/checks"
    if [ $# = 0 ]; then : >expected; else printf '%s\n' "$@" >expected; fi
    cmp -s expected out || fail "$last: wrong output: $(diff expected out | head -n 10)"
}

out_has() # text
{
    echo >>"$scratch/count/checks"
    grep -q -F -e "$1" out || fail "$last: output lacks '$1': $(head -c 300 out)"
}

err() # text: standard error contains it
{
    echo >>"$scratch/count/checks"
    grep -q -F -e "$1" err || fail "$last: message lacks '$1': $(head -c 300 err)"
}

quiet() # nothing on standard error
{
    echo >>"$scratch/count/checks"
    [ ! -s err ] || fail "$last: unexpected message: $(head -c 300 err)"
}

same() # file file
{
    echo >>"$scratch/count/checks"
    cmp -s "$1" "$2" || fail "$1 and $2 differ: $(cmp "$1" "$2" 2>&1)"
}

# Leaves a part out, visibly, when a tool is missing.
have() # tool
{
    command -v "$1" >/dev/null && return 0
    echo "skip: no $1"
    return 1
}

# Can the test run commands as somebody who may not write its files?
may_be_guest()
{
    [ "$(id -u)" = 0 ] || { echo 'skip: guests, without root'; return 1; }
    have setpriv
}

guest() # command...
{
    setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
}

skip_all() # reason
{
    echo "skip: $1"
    exit 77
}

finish()
{
    echo "$(wc -l <"$scratch/count/checks") checks, $(wc -l <"$scratch/count/failures") failed"
    [ ! -s "$scratch/count/failures" ]
    exit
}

# ---- data ----

# Names and entries of the trees. Pages are left out: they depend on the order of writing.
tree_counts() # file
{
    kv trees "$1" --json | sed 's/,"leaf_pages[^}]*//g'
}

# n entries of random bytes in the text form, fully escaped: always the same ones for a seed.
random_text() # n seed longest-key longest-value
{
    awk -v n="$1" -v seed="$2" -v klen="$3" -v vlen="$4" '
        function bytes(len,   s) {
            s = ""
            while (len-- > 0)
                s = s sprintf("\\x%02x", int(rand() * 256))
            return s
        }
        BEGIN {
            srand(seed)
            for (i = 0; i < n; i++)
                print bytes(1 + int(rand() * klen)) "\t" bytes(int(rand() * (vlen + 1)))
        }'
}

# Every single byte as a key, and as a value.
each_byte_text()
{
    local i
    for i in {0..255}; do
        printf '\\x%02x\tvalue \\x%02x!\n' "$i" "$i"
    done
}
