#!/usr/bin/env bash
# What goes wrong outside: files that are not there or not databases, files in use, full disks,
# readers that leave, closed descriptors. A message says what, the exit status says which kind.
. "$(dirname "$0")/common.sh"

seq -f 'key%06g	some value that is long enough to fill pages' 1 20000 >input
kv import a.kv input -q

# ---- no file, or none of ours ----
for command in 'get x.kv k' 'has x.kv k' 'del x.kv k' 'del x.kv --all' 'scan x.kv' 'count x.kv' \
    'export x.kv' 'trees x.kv' 'stat x.kv' 'readers x.kv' 'check x.kv' 'repair x.kv' 'copy x.kv y.kv' \
    'salvage x.kv y.kv' 'pages x.kv' 'page x.kv 2' 'meta x.kv'; do
    # shellcheck disable=SC2086 # words
    run kv $command; code 3; out; err 'kv: x.kv: '
    [ ! -e x.kv ] || { fail "kv $command created the file"; rm x.kv; }
    [ ! -e y.kv ] || fail "kv $command created a copy of nothing"
done
run kv get x.kv k; err 'kv put and kv import create'
run kv put no/folder/x.kv k v; code 3; err 'kv: no/folder/x.kv: '; err 'directory'
run kv get . k; code 3; err 'kv: .: '
run kv put . k v; code 3; err 'kv: .: '
head -c 20000 /dev/urandom >noise
echo 'just a text' >text
for file in noise text; do
    cp $file before
    for command in "get $file k" "put $file k v" "check $file" "repair $file" "import $file input"; do
        # shellcheck disable=SC2086 # words
        run kv $command; code 4; err "kv: $file: "; err 'is this the right file?'
        case $command in
        check*) out 'M0: no page of it looks like one of a database' ;; # as any problem
        *) out ;;
        esac
        same before $file
    done
done
: >empty
run kv get empty k; code 4; err 'kv: empty: is empty'
if [ "$(id -u)" != 0 ]; then
    cp a.kv locked.kv; chmod 000 locked.kv
    run kv get locked.kv k; code 3; err 'ermission denied'
    chmod 400 locked.kv
    run kv put locked.kv k v; code 3; err 'ermission denied'
    run kv get locked.kv key000001; code 0
else
    echo 'skip: permissions do not stop root'
fi

# ---- in use ----
mkfifo pipe
"$BUILD/kv" import a.kv pipe -q 2>import.err &
importer=$!
exec 3>pipe
printf 'new\tvalue\n' >&3
for ((i = 0; i < 200; i++)); do # until the import has the file
    kv put a.kv k v --if-present --wait 0 2>err
    result=$?
    [ $result != 3 ] || break
    sleep 0.05
done
ended $result 'kv put during an import'; code 3; err 'kv: a.kv: another process is writing; --wait'
run kv put a.kv k v --wait 50ms; code 3
run kv del a.kv k --wait 50ms; code 3
kv put b.kv k v
kv backup b.kv -q >backup
for command in 'put a.kv k v' 'cas a.kv k v w' 'swap a.kv k v' 'incr a.kv n' 'append a.kv k v' 'pop a.kv' \
    'del a.kv --all' 'expire a.kv k 1m' 'persist a.kv k' 'touch a.kv k 1m' 'sweep a.kv' \
    'clock a.kv --reset' 'import a.kv backup' 'snapshot create a.kv s' 'snapshot drop a.kv s' \
    'snapshot restore a.kv s' 'compact a.kv' 'apply a.kv backup' 'follow a.kv'; do
    for wait in 0 50ms; do
        # shellcheck disable=SC2086 # words
        run_with backup timeout 60 "$BUILD/kv" $command --wait $wait
        code 3; err 'kv: a.kv: '; err 'another process is writing; --wait'; out
    done
done
run kv get a.kv new; code 1; err 'no key new' # readers see the commit before it
for command in 'get a.kv key000001' 'has a.kv key000001' 'scan a.kv' 'count a.kv' 'export a.kv' \
    'trees a.kv' 'stat a.kv' 'readers a.kv' 'check a.kv' 'copy a.kv -' 'meta a.kv'; do
    # shellcheck disable=SC2086 # words
    run kv $command; code 0; quiet
done
for wait in 0 50ms; do
    run kv salvage a.kv saved.kv --wait $wait; code 3; err 'in use by somebody else'; err '; --wait'
    [ ! -e saved.kv ] || fail 'kv salvage made a file in vain'
done
"$BUILD/kv" salvage a.kv saved.kv --wait 1m >salvage.out 2>salvage.err 3>&- &
salvaging=$!
run kv repair a.kv; code 3; err 'end the other program first'
"$BUILD/kv" put a.kv waited 'for it' --wait 1m 2>put.err 3>&- &
waiting=$!
"$BUILD/kv" compact a.kv --wait 1m >compact.out 2>compact.err 3>&- &
compacting=$!
"$BUILD/kv" repair a.kv --wait 1m >repair.out 2>repair.err 3>&- &
repairing=$!
exec 3>&-
wait $importer || fail "the import failed: $(cat import.err)"
wait $waiting || fail "the waiting put failed: $(cat put.err)"
wait $salvaging || fail "the waiting salvage failed: $(cat salvage.err)"
wait $compacting || fail "the waiting compact failed: $(cat compact.err)"
wait $repairing || fail "the waiting repair failed: $(cat repair.err)"
run kv get a.kv new; out value
run kv get a.kv waited; out 'for it'

# ---- a file that goes away while it is open ----
kv put gone.kv k v
"$BUILD/kv" import gone.kv pipe -q --batch 1 2>err &
importer=$!
exec 3>pipe
printf 'a\tb\n' >&3
for ((i = 0; i < 200; i++)); do # until it is stored, and the next transaction has begun
    [ "$(kv get gone.kv a 2>/dev/null)" != b ] || break
    sleep 0.05
done
sleep 0.05
mv gone.kv moved.kv
printf 'c\td\ne\tf\n' >&3
exec 3>&-
wait $importer
ended $? 'kv import into a file that was moved'
code 3; err 'kv: gone.kv: was removed or replaced while it was open'
[ ! -e gone.kv ] || fail 'the file came back'
run kv check moved.kv; code 0
run kv get moved.kv a; out b
rm -f gone.kv-lock

# ---- two names of one file ----
kv put name.kv k v
ln name.kv other.kv
"$BUILD/kv" import name.kv pipe -q &
importer=$!
exec 3>pipe
printf 'a\tb\n' >&3
for ((i = 0; i < 200; i++)); do
    [ ! -e name.kv-lock ] || break
    sleep 0.05
done
run kv get other.kv k; code 3; err 'kv: other.kv: is open under another name'
ln -s name.kv link.kv
run kv get link.kv k; code 0; out v
exec 3>&-
wait $importer || fail 'the import failed'
run kv get other.kv a; code 0; out b

# ---- readers leave a file alone, and keep nobody from writing ----
mkfifo hold
"$BUILD/kv" scan a.kv >hold &
reader=$!
exec 3<hold
read -r _ <&3
cp a.kv before
touch -d '2001-01-01' a.kv
for command in 'get a.kv new' 'has a.kv new' 'scan a.kv' 'count a.kv' 'export a.kv' 'trees a.kv' \
    'stat a.kv' 'readers a.kv' 'check a.kv' 'copy a.kv -'; do
    # shellcheck disable=SC2086 # words
    run kv $command; code 0; quiet
done
same before a.kv
[ before -nt a.kv ] || fail 'a reading command wrote to the file'
run kv put a.kv k v --wait 0; code 0; quiet
cat <&3 >/dev/null
exec 3<&-
wait $reader || fail 'the first reader failed'

# ---- standard output ----
for command in 'scan a.kv' 'get a.kv new' 'export a.kv' 'count a.kv' 'trees a.kv' 'stat a.kv' \
    'check a.kv' 'help' 'version' 'copy a.kv -' 'import a.kv input'; do
    # shellcheck disable=SC2086 # words
    kv $command >/dev/full 2>err
    ended $? "kv $command >/dev/full"
    code 3; err 'No space left on device'
done
for command in 'scan a.kv' 'copy a.kv -' 'count a.kv'; do
    # shellcheck disable=SC2086 # words
    kv $command >&- 2>err
    ended $? "kv $command >&-"
    code 3; err 'kv: '
done
# the database must not take the place of a closed descriptor: messages would go there
kv put a.kv closed all <&- >&- 2>&-
kv del a.kv --prefix nothing >&- 2>err
kv del a.kv nothing 2>/dev/null
cp a.kv before
kv del a.kv nothing 2>&-
same before a.kv
kv import a.kv - >&- 2>err <input
kv import a.kv wrong <&- >&- 2>&-
run kv check a.kv; code 0
run kv get a.kv closed; out all
kv put a.kv input - <&- 2>err; ended $? 'kv put - <&-'; code 3; err 'standard input'

# ---- a reader that leaves ----
kv scan a.kv 2>err | head -n 1 >out
ended "${PIPESTATUS[0]}" 'kv scan | head'
code 141; quiet; out $'closed\tall'
for command in 'scan a.kv' 'export a.kv --format db_dump' 'copy a.kv -'; do
    # shellcheck disable=SC2086 # words
    (trap '' PIPE; kv $command 2>err; echo $? >code) | true
    ended "$(cat code)" "kv $command, SIGPIPE ignored"
    code 3; quiet
done
# whose output nobody takes has done its work all the same
(sleep 0.1; kv del a.kv --prefix key0000 2>err; echo $? >code) | true
run kv count a.kv --prefix key0000; out 0
(sleep 0.1; kv has a.kv new; echo $? >code) | true
run cat code; out 0

# ---- a full disk: nothing is changed ----
cp a.kv full.kv
kv export full.kv >before
{ printf 'new\tother\n'; seq -f 'more%06g	some value that is long enough to fill pages' 1 50000; } >extra
(
    ulimit -f $(($(stat -c %s full.kv) / 1024 + 64))
    kv import full.kv extra >out 2>err
    echo $? >code
)
ended "$(cat code)" 'kv import beyond ulimit -f'
code 3; err 'kv: full.kv: '; err 'nothing was imported'
run kv check full.kv; code 0
kv export full.kv >after
same before after

# ---- a file that is cut short while it is read ----
kv import cut.kv input -q; kv import cut.kv extra -q
mkfifo slow
"$BUILD/kv" scan cut.kv >slow 2>err &
reader=$!
exec 3<slow
read -r _ <&3
truncate -s 8192 cut.kv
cat <&3 >out
exec 3<&-
wait $reader
ended $? 'kv scan of a truncated file'
code 3; err 'kv: cut.kv: the file cannot be read'

# ---- an interrupted import leaves nothing, or whole batches ----
for batch in '' '--batch 100'; do
    rm -f int.kv
    kv put int.kv k v
    # shellcheck disable=SC2086 # words
    "$BUILD/kv" import int.kv pipe -q $batch &
    importer=$!
    exec 3>pipe
    head -n 15000 input >&3
    sleep 0.2
    kill -INT $importer 2>/dev/null; kill -KILL $importer
    wait $importer 2>/dev/null
    exec 3>&-
    run kv check int.kv; code 0
    count=$(kv count int.kv --prefix key)
    if [ -z "$batch" ]; then
        [ "$count" = 0 ] || fail "$count entries of an interrupted import"
    else
        [ $((count % 100)) = 0 ] || fail "$count entries of batches of 100"
    fi
done

finish
