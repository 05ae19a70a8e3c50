#!/usr/bin/env bash
# Programs of another C library or word size share a database with ours: the side file has one layout
# for all. Peers are the kv command built by musl-gcc and by gcc -m32.
. "$SRC/test/cli/common.sh"
. "$SRC/test/install/peers.sh"

rounds=6
each=10

peer_sources=("$SRC"/src/cli/*.c)
build_peers

# ---- by turns: what one writes the other reads, whoever made the file ----

turns() # maker other
{
    rm -f t.kv
    local n
    "$1" put t.kv k0 v0 || fail "$1 put"
    for ((n = 1; n <= 6; n++)); do
        local writer=$1 reader=$2
        [ $((n % 2)) = 0 ] || { writer=$2 reader=$1; }
        "$writer" put t.kv k$n "v$n" || fail "$writer put"
        [ "$("$reader" get t.kv k$n)" = v$n ] || fail "$reader get"
        "$reader" check t.kv -q || fail "$reader check"
    done
    [ "$("$1" scan t.kv)" = "$("$2" scan t.kv)" ] || fail "$1 and $2 differ"
}

# ---- at once: a reader holds its snapshot while the other side writes over and over ----

pinned() # reader writer
{
    rm -f p.kv slow
    mkfifo slow
    seq -f 'key%06g	some value that fills pages, and is not the new one' 1 3000 |
        "$2" import p.kv - -q
    "$1" scan p.kv >slow 2>err &
    local reader=$! n
    exec 3<slow
    read -r _ <&3
    for ((n = 0; n < 8; n++)); do
        seq -f "key%06g	new value $n" 1 3000 | "$2" import p.kv - -q || fail "$2 import"
    done
    [ "$("$2" readers p.kv | grep -c "$reader")" = 1 ] || fail "$2 does not see the reader $1"
    [ "$(cat <&3 | grep -c 'not the new one')" = 2999 ] || fail "the snapshot of $1 changed under it"
    exec 3<&-
    wait $reader || fail "$1 scan: $(cat err)"
    "$2" check p.kv -q || fail "$2 check"
}

# ---- at once: everybody writes ----

crowd()
{
    local n i program
    rm -f c.kv
    : >failed
    for ((n = 0; n < rounds; n++)); do
        for program in "$BUILD/kv" "${peers[@]}"; do
            for ((i = 0; i < each; i++)); do
                "$program" put c.kv "${program##*/}$n/$i" "$n" 2>>failed ||
                    echo "$program put: $?" >>failed
            done &
        done
        wait
    done
    [ ! -s failed ] || fail "at once: $(head -n 3 failed)"
    [ "$(kv count c.kv)" = $((rounds * each * (1 + ${#peers[@]}))) ] || fail "$(kv count c.kv) entries"
    for program in "$BUILD/kv" "${peers[@]}"; do
        "$program" check c.kv -q || fail "$program check"
    done
    [ ! -e c.kv-lock ] || fail 'a side file was left'
}

# ---- a writer of another kind is killed: the next one goes on ----

killed() # victim heir
{
    rm -f k.kv pipe
    mkfifo pipe
    "$2" put k.kv k v
    "$1" import k.kv pipe -q --batch 1 2>/dev/null &
    local writer=$! i
    exec 3>pipe
    printf 'a\tb\n' >&3
    for ((i = 0; i < 200; i++)); do
        [ "$("$2" get k.kv a 2>/dev/null)" != b ] || break
        sleep 0.05
    done
    kill -KILL $writer
    wait $writer 2>/dev/null
    exec 3>&-
    "$2" put k.kv after it || fail "$2 does not go on after $1 was killed"
    [ "$("$2" get k.kv a)" = b ] || fail 'an acknowledged commit is gone'
    "$2" check k.kv -q || fail "$2 check after $1 was killed"
}

for peer in "${peers[@]}"; do
    for step in turns pinned killed; do
        $step "$BUILD/kv" "$peer"
        $step "$peer" "$BUILD/kv"
        echo >>count/checks
    done
done
crowd
echo >>count/checks
finish
