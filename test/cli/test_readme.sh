#!/usr/bin/env bash
# The README's program compiles as it stands there, and does what it says; the commands of its tour
# run in their order; the files that it links to exist.
set -eu

: "${SRC:=$(cd "$(dirname "$0")/../.." && pwd)}"
: "${BUILD:=$SRC/build}"
: "${CC:=cc}"
flags="-std=c11 -Wall -Wextra -Werror"
case ${VARIANT-} in
*asan*) flags="$flags -fsanitize=address,undefined" ;;
*tsan*) flags="$flags -fsanitize=thread" ;;
esac
case ${VARIANT-} in *clang*) CC=clang ;; esac

wrong()
{
    echo "README.md: $*" >&2
    exit 1
}

scratch=$(mktemp -d "${TMPDIR:-/tmp}/kv-readme.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

# The program.
awk '/^```c$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$SRC/README.md" >phone.c
lines=$(grep -c . phone.c)
case $lines in 1? | 2[0-5]) ;; *) wrong "its program has $lines lines" ;; esac
# shellcheck disable=SC2086 # flags and compiler are words
$CC $flags -I"$SRC/include" phone.c "$BUILD/libkv.a" -llz4 -o phone
said=$(./phone)
[ "$said" = "alice: +1 555 0100" ] || wrong "its program says: $said"
[ "$("$BUILD/kv" get phone.kv alice)" = "+1 555 0100" ] || wrong "its program stored something else"

# The tour: what it needs is made here, `repair` gets a sound file, LMDB's tools may be missing.
printf 'a\t1\nb\t2\n' >words.tsv
printf 'meow\0\n' >cat.jpg
"$BUILD/kv" put damaged.kv key value
PATH=$BUILD:$PATH
awk '/^## /{ tour = /^## The command/ } tour && sub(/^    kv /, "kv ")' "$SRC/README.md" >tour
[ "$(wc -l <tour)" -ge 12 ] || wrong "its tour of the command has become short"
command -v mdb_load >/dev/null || sed -i '/mdb_load/d' tour
cp cat.jpg cat.jpg.before
while read -r command; do
    bash -o pipefail -c "$command" </dev/null >said 2>&1 || wrong "failed: $command: $(cat said)"
done <tour
cmp -s cat.jpg cat.jpg.before || wrong "cat.jpg did not come back as it went in"
[ "$(kv export copy.kv)" = "$(cat words.tsv)" ] || wrong "copy.kv is not words.kv"

# The links.
grep -o '](\([^)#]*\)' "$SRC/README.md" | cut -c 3- | sort -u >links
while read -r link; do
    case $link in *://*) continue ;; esac
    [ -e "$SRC/$link" ] || wrong "links to $link, which does not exist"
done <links
