#!/usr/bin/env bash
# kv at work on data that others wrote: Debian's package index and the Unicode character table.
# `make demo` builds everything and runs this. Works in a temporary folder, which it removes.
set -euo pipefail
export LC_ALL=C

: "${SRC:=$(cd "$(dirname "$0")/../.." && pwd)}"
: "${BUILD:=$SRC/build}"
kv=$BUILD/kv
helper=$BUILD/demo
unicode_table=/usr/share/unicode/UnicodeData.txt

say() # step, text
{
    printf '  %-9s %s\n' "$1" "$2"
}

wrong()
{
    printf '  WRONG     %s\n' "$*" >&2
    exit 1
}

group() # 63666 -> 63,666
{
    local number=$1 text=
    while [ ${#number} -gt 3 ]; do
        text=,${number: -3}$text
        number=${number:0:-3}
    done
    echo "$number$text"
}

megabytes() # bytes
{
    echo "$(($1 / 1000000)).$(($1 / 100000 % 10)) MB"
}

now() # microseconds
{
    echo "${EPOCHREALTIME/[.,]/}"
}

seconds() # microseconds
{
    printf '%d.%02d s' $(($1 / 1000000)) $(($1 / 10000 % 100))
}

same() # what, is, should be
{
    [ "$2" = "$3" ] || wrong "$1: $2 instead of $3"
}

# ---- the data ----

as_root() # command...
{
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif sudo -n true 2>/dev/null || { [ -t 0 ] && command -v sudo >/dev/null; }; then
        sudo "$@"
    else
        return 1
    fi
}

# apt's whole index; without one, what dpkg knows of the installed packages.
package_index() # output file
{
    apt-cache dumpavail >"$1" 2>/dev/null || true
    if [ "$(grep -c '^Package: ' "$1")" -lt 10000 ]; then
        echo "  apt has no package index yet: apt-get update" >&2
        as_root apt-get update -qq >/dev/null 2>&1 || true
        apt-cache dumpavail >"$1" 2>/dev/null || true
    fi
    index="Debian's package index"
    if [ "$(grep -c '^Package: ' "$1")" -lt 1000 ]; then
        [ -s /var/lib/dpkg/status ] || wrong "there is neither apt's nor dpkg's package data"
        cp /var/lib/dpkg/status "$1"
        index="dpkg's list of installed packages (apt's index is empty and cannot be updated)"
    fi
}

prepare()
{
    [ -x "$kv" ] || wrong "$kv is missing: run \`make demo\`, it builds what this needs"
    [ -x "$helper" ] || wrong "$helper is missing: run \`make demo\`, it builds what this needs"
    [ -r $unicode_table ] || wrong "$unicode_table is missing: Debian's package unicode-data has it"
    package_index "$folder/packages"
    awk -f "$SRC/test/demo/packages.awk" "$folder/packages" >"$folder/packages.text"
    sed 's/\\/\\\\/g; s/;/\t/' $unicode_table >"$folder/unicode.text"
    local index_bytes table_bytes
    packages=$(wc -l <"$folder/packages.text")
    characters=$(wc -l <"$folder/unicode.text")
    index_bytes=$(wc -c <"$folder/packages")
    table_bytes=$(wc -c <$unicode_table)
    source_bytes=$((index_bytes + table_bytes))
    say data "$index: $(group "$packages") packages, $(megabytes "$index_bytes")"
    say "" "Unicode's character table: $(group "$characters") lines, $(megabytes "$table_bytes")"
}

# ---- the steps ----

import()
{
    local start middle end size rate
    start=$(now)
    "$kv" import "$db" --quiet <"$folder/packages.text"
    middle=$(now)
    "$kv" import "$db" --tree unicode --quiet <"$folder/unicode.text"
    end=$(now)
    size=$(stat -c %s "$db")
    rate=$(((packages + characters) * 1000000 / (end - start)))
    say import "$(group "$packages") packages in $(seconds $((middle - start))), \
$(group "$characters") characters in $(seconds $((end - middle))): $(group $rate) records/s"
    say size "one file of $(megabytes "$size") for $(megabytes "$source_bytes") of text: \
$((size * 100 / source_bytes)) %"
}

look_up()
{
    local about name expected status=0
    about=$("$kv" get "$db" bash --raw | sed -n 's/^Description: //p')
    name=$("$kv" get "$db" 1F600 --tree unicode | cut -d ';' -f 1)
    expected=$(awk '/^Package: / { found = $2 == "bash" }
                    found && sub(/^Description: /, "") { print; exit }' "$folder/packages")
    same "kv get bash" "$about" "$expected"
    same "kv get 1F600" "$name" "GRINNING FACE"
    "$kv" get "$db" no-such-package 2>/dev/null || status=$?
    same "exit status of a missing key" $status 1
    say "look up" "bash is the \"$about\", U+1F600 the $name, no-such-package unknown"
    "$helper" lookup "$db" "$folder/packages" $unicode_table
}

count_and_list()
{
    local prefix=$1 counted first
    cut -f 1 "$folder/packages.text" | grep "^$prefix" | sort >"$folder/expected"
    counted=$("$kv" count "$db" --prefix "$prefix")
    same "kv count --prefix $prefix" "$counted" "$(wc -l <"$folder/expected")"
    same "kv count" "$("$kv" count "$db")" "$packages"
    same "kv count --tree unicode" "$("$kv" count "$db" --tree unicode)" "$characters"
    "$kv" scan "$db" --prefix "$prefix" --keys-only >"$folder/listed"
    cmp -s "$folder/listed" "$folder/expected" || wrong "kv scan: not the names that grep finds"
    first=$("$kv" scan "$db" --prefix "$prefix" --keys-only --limit 3 | paste -s -d ' ')
    say count "$(group "$counted") of $(group "$packages") packages begin with $prefix: \
as many as grep finds"
    say list "their names in order, as sort puts them: $first ..."
}

check()
{
    local start
    start=$(now)
    "$kv" check "$db" --quiet || wrong "kv check: exit status $?"
    say check "every page of $(megabytes "$(stat -c %s "$db")") is sound ($(seconds $(($(now) - start))))"
}

folder=$(mktemp -d "${TMPDIR:-/tmp}/kv-demo.XXXXXX")
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM HUP
db=$folder/demo.kv

echo
version=$("$kv" version | cut -d ' ' -f 1,2)
file_system=$(df --output=fstype "$folder" | tail -n 1)
[ "$file_system" != - ] || file_system=$(stat -f -c %T "$folder") # a chroot does not know its mounts
echo "$version at work: $(nproc) processors, files on $file_system"
echo
prepare
begin=$(now)
import
look_up
count_and_list lib
"$helper" snapshot "$db" "$folder/packages" $unicode_table
"$helper" kill "$db" "$folder/packages" $unicode_table
check
"$helper" verify "$db" "$folder/packages" $unicode_table

cat <<END

Shown and checked in $(seconds $(($(now) - begin))):
  - $(group $((packages + characters))) records that others wrote went into one file, and each came back byte for byte;
  - other processes kept one unchanging view while every record was replaced under them;
  - writers died in the middle of commits, and nothing that was committed got lost or torn;
    the file opened again at once, without repair.
Next: \`make test\`, examples/hello.c, include/kv.h.

END
