#!/usr/bin/env bash
# What a packager and a dependent project meet: staging, the installed file list, pkg-config,
# programs in C and C++ against the shared and the static library, exported names, uninstall.
set -eu

work=$TMPDIR/install
stage=$work/stage # a packager's empty root
home=$work/opt/kv # an installation in a place of its own
mkdir -p "$work"
export LC_ALL=C
CC=${CC:-cc} CXX=${CXX:-c++}

fail()
{
    echo "FAILED: $*"
    exit 1
}

same() # what expected got
{
    [ "$2" = "$3" ] || fail "$1: expected (-) and got (+)
$(diff -U 0 --label expected --label got <(echo "$2") <(echo "$3"))"
}

make_kv()
{
    make -s -C "$SRC" VARIANT="${VARIANT:-}" "$@"
}

files() # folder
{
    (cd "$1" && find . ! -type d | sort)
}

header_version()
{
    sed -n 's/^#define KV_VERSION_[A-Z]* //p' "$SRC/include/kv.h" | paste -sd.
}

version=$(header_version)
major=${version%%.*}

# ---- staging ----

expected_files()
{
    local lib=usr/lib/triplet
    printf './%s\n' usr/bin/kv usr/include/kv.h $lib/libkv.a $lib/libkv.so "$lib/libkv.so.$major" \
        "$lib/libkv.so.$version" $lib/pkgconfig/kv.pc
    for page in "$SRC"/docs/*.1; do
        [ ! -e "$page" ] || echo "./usr/share/man/man1/${page##*/}"
    done
}

stage_vars=(DESTDIR="$stage" PREFIX=/usr LIBDIR=/usr/lib/triplet)
make_kv install "${stage_vars[@]}"
same "installed files" "$(expected_files | sort)" "$(files "$stage")"
same "link to the soname" "libkv.so.$version" \
    "$(readlink "$stage/usr/lib/triplet/libkv.so.$major")"
! grep -q "$stage" "$stage/usr/lib/triplet/pkgconfig/kv.pc" || fail "kv.pc names the stage"
grep -qx 'libdir=${prefix}/lib/triplet' "$stage/usr/lib/triplet/pkgconfig/kv.pc" ||
    fail "libdir in kv.pc does not follow the prefix"

before=$(cd "$stage" && find . -type f -exec md5sum {} + | sort)
make_kv install "${stage_vars[@]}"
same "a second install" "$before" "$(cd "$stage" && find . -type f -exec md5sum {} + | sort)"

make_kv uninstall "${stage_vars[@]}"
same "files after uninstall" "" "$(files "$stage")"

make_kv install DESTDIR="$stage/gnu" prefix=/usr libdir=/usr/lib64
[ -e "$stage/gnu/usr/lib64/libkv.a" ] && [ -e "$stage/gnu/usr/bin/kv" ] ||
    fail "GNU's lower-case variables"

# A packager's CFLAGS replace ours, never what the sources need.
commands=$(make -n -B -C "$SRC" V=1 CFLAGS=-O3 all)
compiled=$(grep -c -- ' -c -o ' <<<"$commands")
same "commands with -std=c11 and the packager's flags" "$compiled" \
    "$(grep -- ' -c -o ' <<<"$commands" | grep -- '-std=c11.* -O3 ' | grep -c -v -- '-O2')"
same "objects of the shared library with -fPIC" \
    "$(grep -c -- '-o [^ ]*/pic/[^ ]*\.o ' <<<"$commands")" "$(grep -c -- '-fPIC' <<<"$commands")"

# A folder may have a space in its name, and no folder's name reaches an object.
spaced="$work/a folder"
mkdir -p "$spaced"
cp -r "$SRC/Makefile" "$SRC/include" "$SRC/src" "$spaced"
make -s -C "$spaced" build/obj/src/err.o || fail "a folder with a space in its name"
! grep -q "$spaced" "$spaced/build/obj/src/err.o" || fail "err.o names the folder that it was built in"

# ---- what was linked ----

make_kv install PREFIX="$home"
library=$home/lib/libkv.so.$version

needed() # program or library
{
    readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort
}

links_only() # file allowed-pattern
{
    local others
    others=$(needed "$1" | grep -v -x -E "$2" || true)
    [ -z "$others" ] || fail "${1##*/} links with $others"
}

links_only "$home/bin/kv" "libc\.so\.6|liblz4\.so\.1|libkv\.so\.$major|ld-linux.*"
links_only "$library" "libc\.so\.6|liblz4\.so\.1|ld-linux.*"
same soname "libkv.so.$major" "$(readelf -d "$library" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')"
readelf -d "$library" | grep -q BIND_NOW || fail "libkv.so is not bound at start"
same "exported names" "$("$SRC/test/lint/names" header "$home/include/kv.h")" \
    "$("$SRC/test/lint/names" library "$library")"
same "names in kv.map" "$("$SRC/test/lint/names" header "$home/include/kv.h")" \
    "$("$SRC/test/lint/names" map "$SRC/src/kv.map")"
same "command's version" "$version" "$("$home/bin/kv" version | grep -o '[0-9]*\.[0-9]*\.[0-9]*' |
    head -n 1)"

# ---- programs that use it ----

if ! command -v pkg-config >/dev/null; then
    echo "pkg-config is not installed: programs left out"
    exit 0
fi
export PKG_CONFIG_PATH=$home/lib/pkgconfig
same "pkg-config's version" "$version" "$(pkg-config --modversion kv)"

try() # program arguments...: in an empty folder
{
    local folder
    folder=$(mktemp -d "$work/run.XXXXXX")
    echo "run ${1##*/}"
    (cd "$folder" && LD_LIBRARY_PATH=$home/lib "$@" >output 2>&1) || {
        cat "$folder/output"
        fail "${1##*/}"
    }
}

# shellcheck disable=SC2046 # pkg-config prints words
compile() # compiler source name standard
{
    local compiler=$1 source=$2 program=$work/$3 standard=$4
    $compiler -std="$standard" -Wall -Wextra -Werror -pthread -o "$program-shared" "$source" \
        $(pkg-config --cflags --libs kv)
    needed "$program-shared" | grep -qx "libkv.so.$major" || fail "$3 does not use libkv.so"
    $compiler -std="$standard" -Wall -Wextra -Werror -pthread -static -o "$program-static" \
        "$source" $(pkg-config --static --cflags --libs kv)
    same "libraries that the static $3 needs" "" "$(needed "$program-static")"
}

for source in "$SRC"/examples/*.c; do
    name=$(basename "$source" .c)
    case $name in profiles | undo) continue ;; esac # other libraries; arguments
    compile "$CC -D_GNU_SOURCE" "$source" "$name" c11
    try "$work/$name-shared"
    try "$work/$name-static"
done

if command -v "$CXX" >/dev/null; then
    compile "$CXX" "$SRC/test/install/client.cc" client c++11
    try "$work/client-shared" client.kv
    try "$work/client-static" client.kv
else
    echo "no C++ compiler: client.cc left out"
fi

# The tree may be moved: pkg-config follows the prefix.
mv "$home" "$work/moved"
same "flags after a move" "-I$work/moved/include -L$work/moved/lib -lkv" \
    "$(PKG_CONFIG_PATH=$work/moved/lib/pkgconfig pkg-config --define-variable=prefix="$work/moved" \
        --cflags --libs kv | sed 's/ *$//')"
