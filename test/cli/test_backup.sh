#!/usr/bin/env bash
# backup, apply, follow: through pipes, damaged, out of order, killed in the middle.
. "$(dirname "$0")/common.sh"

content() # file: all trees
{
    kv export "$1" --format mdb_dump --all | grep -v '^mapsize='
}

same_content() # file file
{
    content "$1" >left
    content "$2" >right
    same left right
}

commit_of() # file
{
    kv stat "$1" --json | sed 's/.*"commit_id":\([0-9]*\).*/\1/'
}

origin_of() # file
{
    kv stat "$1" --json | sed 's/.*"origin_id":\([0-9]*\).*/\1/'
}

# ---- round trips ----
for i in {1000..2999}; do printf 'key%d\tvalue %d\n' "$i" "$i"; done >input
kv import a.kv input -q
kv import a.kv input -q --tree numbers --compress 4k
run kv backup a.kv -q; code 0; quiet
mv out full
run_with full kv apply b.kv; code 0; quiet
grep -q -E '^commits 0 to [0-9]+: 4,000 entries, [0-9.]+ KiB$' out || fail "apply: $(cat out)"
same_content a.kv b.kv
[ "$(origin_of b.kv)" = "$(commit_of a.kv)" ] || fail 'apply: another origin'
[ "$(origin_of a.kv)" = 0 ] || fail 'an origin from nowhere'
kv stat b.kv | grep -q -E '^repeats commit [0-9]+ of the database with file id [0-9a-f]{32}$' || fail "stat: $(kv stat b.kv)"

first=$(commit_of a.kv)
kv put a.kv key1500 other; kv del a.kv --prefix key27 -q; kv put a.kv new n --tree more
second=$(commit_of a.kv)
kv del a.kv --all -q --tree numbers
third=$(commit_of a.kv)
kv backup a.kv --since "$second" -q >two
kv backup a.kv --since "$first" -q | kv apply b.kv -q || fail 'increment refused'
same_content a.kv b.kv
[ "$(wc -c <two)" -lt 1000 ] || fail "a small increment is large: $(wc -c <two)"

# a copy by kv copy is a base, too; several backups at once, from files
kv copy a.kv c.kv
kv put a.kv k 1; kv backup a.kv --since "$third" -q >three; fourth=$(commit_of a.kv)
kv put a.kv k 2; kv backup a.kv --since "$fourth" -q >four
run kv apply c.kv three four --json; code 0; quiet
[ "$(wc -l <out)" = 2 ] || fail "apply: $(cat out)"
out_has "{\"from\":$third,\"to\":$fourth,\"entries\":"
same_content a.kv c.kv
cat three four | kv apply b.kv -q || fail 'a joined stream'
same_content a.kv b.kv

# the page size of the original
kv put big.kv k v --page-size 16k; kv backup big.kv -q | kv apply big2.kv -q
kv stat big2.kv --json | grep -q '"page_size":16384' || fail 'apply: another page size'

# ---- what does not fit ----
kv copy a.kv old.kv
kv put a.kv k 3; fifth=$(commit_of a.kv); kv backup a.kv --since "$((fifth - 1))" -q >five
kv put a.kv k 4; kv backup a.kv --since "$fifth" -q >six
cp old.kv before.kv
run_with six kv apply old.kv; code 1; err 'the backup leads from'; out
cmp -s old.kv before.kv || same_content old.kv before.kv
run_with five kv apply old.kv; code 0
run_with six kv apply old.kv; code 0
run_with five kv apply old.kv; code 1; err 'kv stat old.kv shows'
run_with six kv apply big.kv; code 1; err 'no copy'
kv put old.kv own change
run_with six kv apply old.kv; code 1; err 'was changed since'
run_with six kv apply none.kv; code 3; err 'a backup since 0'
[ ! -e none.kv ] || fail 'apply made a database'
run kv backup a.kv --since 999999 ; code 1; err 'is newer'
run kv apply b.kv missing-file; code 3; err 'No such file'

# ---- damage ----
cp b.kv d.kv
kv backup a.kv --since "$(origin_of d.kv)" -q >good
size=$(wc -c <good)
for at in 3 20 60 70 $((size / 2)) $((size - 1)); do
    cp good bad
    printf '\xff' | dd of=bad bs=1 seek="$at" conv=notrunc status=none
    cmp -s good bad && printf '\x00' | dd of=bad bs=1 seek="$at" conv=notrunc status=none
    run_with bad kv apply d.kv; [ "${status:-0}" -gt 2 ] || fail "damage at $at: no error"
    [ -s err ] || fail "damage at $at: no message"
    head -c "$at" good >bad
    run_with bad kv apply d.kv; code 4; err 'nothing of it was applied'
done
run_with input kv apply d.kv; code 4; err 'no backup'
same_content b.kv d.kv
run_with good kv apply d.kv; code 0
same_content a.kv d.kv

# ---- damage of the copy is not damage of the backup ----
kv copy a.kv torn.kv
kv put a.kv key1500 again; kv backup a.kv --since "$(origin_of torn.kv)" -q >sound
for ((page = 3; page < $(wc -c <torn.kv) / 4096; page++)); do
    printf '\xff\xff\xff\xff' | dd of=torn.kv bs=1 seek=$((page * 4096 + 200)) conv=notrunc status=none
done
run kv apply torn.kv sound; code 4; err 'kv: torn.kv: sound: page '; err 'kv check lists the damage'

# ---- follow ----
mkfifo stream
"$BUILD/kv" backup a.kv --follow -q >stream 2>follow.err &
sender=$!
"$BUILD/kv" follow f.kv <stream >follow.out 2>&1 &
follower=$!
wait_for() # number of commits that f.kv repeats
{
    for _ in {1..300}; do
        [ -e f.kv ] && [ "$(origin_of f.kv)" = "$1" ] && return
        sleep 0.1
    done
    fail "follow: $(cat follow.out follow.err)"
}
wait_for "$(commit_of a.kv)"
same_content a.kv f.kv
kv put a.kv k 5; kv put a.kv l 6 --tree more
wait_for "$(commit_of a.kv)"
same_content a.kv f.kv
# the sender notices that its reader is gone
kill $follower
wait $follower 2>/dev/null
for _ in {1..100}; do kill -0 $sender 2>/dev/null || break; sleep 0.1; done
kill -0 $sender 2>/dev/null && { fail 'backup --follow goes on without a reader'; kill $sender; }
wait $sender 2>/dev/null
kv check f.kv -q || fail 'the follower is damaged'

# the sender notices that its file was replaced: what is committed now goes elsewhere
kv put replaced.kv k 1
timeout 20 "$BUILD/kv" backup replaced.kv --follow -q 2>err > >(cat >stream.kvb) &
sender=$!
for _ in {1..100}; do [ ! -s stream.kvb ] || break; sleep 0.1; done
kv copy replaced.kv restored.kv -q; mv restored.kv replaced.kv
wait $sender; ended $? 'kv backup --follow'; code 3; err 'kv: replaced.kv: the file was replaced meanwhile'

# ---- killed in the middle ----
for i in {1..30000}; do printf 'more%06d\tsome value %d\n' "$i" "$i"; done | kv import a.kv -q
kv backup a.kv --since "$(origin_of f.kv)" -q >large
content f.kv >f.before
size=$(wc -c <large)
for part in 3 2 1; do
    mkfifo "pipe$part"
    "$BUILD/kv" apply f.kv -q <"pipe$part" 2>/dev/null &
    victim=$!
    exec 9>"pipe$part"
    head -c $((size * (4 - part) / 4)) large >&9
    sleep 0.1
    kill -9 $victim; wait $victim 2>/dev/null
    exec 9>&-
    kv check f.kv -q || fail "killed in the middle: damaged"
    content f.kv | cmp -s - f.before || fail 'killed in the middle: changed'
done
run_with large kv apply f.kv -q; code 0
same_content a.kv f.kv

# ---- pipes that do not block are waited for ----
cat >unblocking.py <<'END'
import fcntl, os, subprocess, sys, time

# Runs a command beside a slow other end of a pipe: reads its output, or writes the file as its input.
def unblocked(end):
    fcntl.fcntl(end, fcntl.F_SETFL, fcntl.fcntl(end, fcntl.F_GETFL) | os.O_NONBLOCK)
    return end

how, name, command = sys.argv[1], sys.argv[2], sys.argv[3:]
end, other = os.pipe()
if how == "to":
    process = subprocess.Popen(command, stdout=unblocked(other))
    os.close(other)
    time.sleep(0.2)
    with open(name, "wb") as file:
        while data := os.read(end, 65536):
            file.write(data)
else:
    process = subprocess.Popen(command, stdin=unblocked(end))
    os.close(end)
    time.sleep(0.2)
    with open(name, "rb") as file, os.fdopen(other, "wb") as pipe:
        try:
            pipe.write(file.read())
        except BrokenPipeError:
            pass
sys.exit(process.wait())
END
if have python3; then
    run python3 unblocking.py to slow.kvb "$BUILD/kv" backup a.kv -q; code 0; quiet
    kv backup a.kv -q >quick.kvb
    same quick.kvb slow.kvb
    run python3 unblocking.py to merged.kvb "$BUILD/kv" merge quick.kvb -q; code 0; quiet
    run python3 unblocking.py from quick.kvb "$BUILD/kv" apply slow.kv -q; code 0; quiet
    same_content a.kv slow.kv
    kv export a.kv >lines
    run python3 unblocking.py from lines "$BUILD/kv" import lines.kv -q; code 0; quiet
    kv export lines.kv >lines.out
    same lines lines.out
    run python3 unblocking.py from quick.kvb "$BUILD/kv" put large.kv k - -q; code 0; quiet
    kv get large.kv k --raw >large.out
    same quick.kvb large.out
fi

# ---- usage ----
run kv backup; code 2
run kv snapshoot a.kv; code 2

# ---- who may not write the file ----
durable_of() # file: as a guest tells it
{
    guest "$BUILD/kv" stat "$1" --json | sed 's/.*"durable_id":\([0-9]*\).*/\1/'
}

guest_copies() # file: a guest knows that its newest commit is durable, and backs it up
{
    [ "$(durable_of "$1")" = "$(commit_of "$1")" ] || fail "durable: $(durable_of "$1")"
    run guest "$BUILD/kv" backup "$1" -q; code 0; quiet
    mv out whole
    rm -f copy.kv
    run_with whole kv apply copy.kv -q; code 0
    same_content "$1" copy.kv
}

if may_be_guest; then
    chmod 755 .
    for i in 1 2 3; do
        kv put g.kv k "$i"
        guest_copies g.kv
    done
    chmod 666 g.kv # the file, but not its folder
    guest_copies g.kv
    chmod 644 g.kv
    "$BUILD/kv" watch g.kv --timeout 1m >/dev/null &
    watcher=$!
    for ((i = 0; i < 200; i++)); do
        [ ! -e g.kv-lock ] || break
        sleep 0.05
    done
    for i in 4 5 6; do
        kv put g.kv k "$i"
        guest_copies g.kv
    done
    kv put g.kv k 7 --durability lazy
    [ "$(durable_of g.kv)" -lt "$(commit_of g.kv)" ] || fail 'a lazy commit counts as durable'
    run guest "$BUILD/kv" backup g.kv -q; code 3; out; err 'who may write the file can back it up'
    (sleep 1.5; kv backup g.kv -q >/dev/null) &
    run guest "$BUILD/kv" backup g.kv -q --wait 1m; code 0; quiet
    guest_copies g.kv
    kill $watcher
    wait
fi

# ---- of a snapshot ----
kv put s.kv a 1; kv snapshot create s.kv one
kv put s.kv b 2; kv snapshot create s.kv two
kv put s.kv c 3
kv backup s.kv --at one -q >one.kvb; ended $? 'backup --at'; code 0
run kv apply sc.kv one.kvb -q; code 0
run kv scan sc.kv; out "a	1"
since=$(kv stat sc.kv --json | sed 's/.*"origin_id":\([0-9]*\).*/\1/')
kv backup s.kv --at two --since "$since" -q >two.kvb
run kv apply sc.kv two.kvb -q; code 0
run kv scan sc.kv; out "a	1" "b	2"
kv backup s.kv --since "$(kv stat sc.kv --json | sed 's/.*"origin_id":\([0-9]*\).*/\1/')" -q >now.kvb
run kv apply sc.kv now.kvb -q; code 0
run kv count sc.kv; out 3
run kv backup s.kv --at none; code 1; err 'no snapshot none'
run kv backup s.kv --at one --since 1000; code 1; err 'newer than that of the snapshot'
run kv backup s.kv --at one --follow; code 2; err 'exclude each other'

# ---- a full disk is no reason not to back it up ----
# (the pipe has no limit; beside the database no file can be written)
(ulimit -f 0; exec "$BUILD/kv" backup s.kv -q 2>err) | cat >out
ended "${PIPESTATUS[0]}" 'kv backup without room'; code 0; quiet
mv out room.kvb
run kv apply room.kv room.kvb -q; code 0
same_content s.kv room.kv
[ ! -e s.kv-lock ] || fail 'a lock file is left'

# ---- no backup at all ----
run kv apply sc.kv; code 4; err 'standard input: there is no backup in it'
run kv apply new.kv; code 4
[ ! -e new.kv ] || fail 'an empty stream made a file'
: >empty; run kv apply sc.kv now.kvb empty -q; code 4; err 'empty: there is no backup'
run kv follow sc.kv; code 0; quiet

# ---- what cannot be read is said once, and makes no file ----
kv export sc.kv >before
for source in none . /proc/self/mem; do # not there; no file; nothing at its beginning
    case $source in
    none) why="No such file" ;;
    .) why="Is a directory" ;;
    *) why="Input/output error" ;;
    esac
    for command in "apply sc.kv $source" "apply sc.kv now.kvb $source -q" "apply new.kv $source"; do
        # shellcheck disable=SC2086 # words
        run kv $command; code 3; out; err "kv: $source: $why"
        [ "$(wc -l <err)" = 1 ] || fail "kv $command: $(cat err)"
    done
    [ ! -e new.kv ] || fail "$source made a file"
done
if have python3; then # a connection that breaks in the middle of a backup, with something unsaid
    kv backup s.kv -q >whole.kvb
    cat >broken.py <<'END'
import socket, subprocess, sys
ours, theirs = socket.socketpair()
theirs.sendall(b"unheard")
ours.sendall(open("whole.kvb", "rb").read()[:100])
ours.close()
sys.exit(subprocess.call(sys.argv[1:], stdin=theirs))
END
    for command in 'apply sc.kv -' 'apply sc.kv now.kvb - -q' 'apply new.kv -' 'follow sc.kv'; do
        # shellcheck disable=SC2086 # words
        run python3 broken.py "$BUILD/kv" $command; code 3; err ': Connection reset by peer'
    done
    rm -f new.kv
else
    echo 'skip: needs python3'
fi
run_with /proc/self/mem kv follow sc.kv; code 3; out; err 'kv: standard input: Input/output error'
[ "$(wc -l <err)" = 1 ] || fail "kv follow: $(cat err)"
kv export sc.kv | cmp -s - before || fail 'something was applied'
run kv merge /proc/self/mem; code 3; out; err 'kv: /proc/self/mem: Input/output error'
[ "$(wc -l <err)" = 1 ] || fail "kv merge: $(cat err)"

# ---- what does not begin with a backup makes no file; merge reads files by turns ----
head -c 100 /dev/zero >zeros
kv backup s.kv >whole.kvb; head -c 50 whole.kvb >begun
for broken in zeros begun; do
    run kv apply new.kv $broken; code 4; err "$broken: it does not begin with a backup"
    [ ! -e new.kv ] || fail "$broken made a file"
done
run kv merge . whole.kvb; code 3; err '.: no regular file'
mkfifo pipe
run kv merge whole.kvb pipe; code 3; err 'pipe: no regular file'

finish
