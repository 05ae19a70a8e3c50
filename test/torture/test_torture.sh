#!/usr/bin/env bash
# Processes that share a database are killed and stopped at random, 500 kills here; a big run is
# `build/torture --kills 10000`, the same for LMDB with `--engine lmdb`. Then the driver itself: a
# fault built into the engine must be found.
set -u

torture=$BUILD/torture
folder=$TMPDIR/folder
failed=0
mkdir "$folder"
chmod 755 "$TMPDIR" "$folder"

fail()
{
    echo "FAILED: $*"
    failed=1
}

# Beside other work on the machine, a disk may be slow for longer than the driver notices: a wait
# counts when it comes again.
kills()
{
    local output
    output=$("$torture" --kills 500 --dir "$folder")
    local status=$?
    echo "$output"
    [ $status = 1 ] && ! grep -E '^  [a-z ]+ +worker' <<<"$output" | grep -q -v '^  waited ' &&
        return 2
    return $status
}

kills
case $? in
0) ;;
2) kills || fail "kills" ;;
*) fail "kills" ;;
esac
[ ! -e "$folder/torture.db-lock" ] || fail "the side file is left"
"$BUILD/kv" check "$folder/torture.db" || fail "kv check"
"$torture" --kills 50 --no-namespaces || fail "kills without namespaces"

finds() # fault what
{
    local output
    for _ in 1 2 3 4 5 6 7 8; do # found by chance, if a likely one; beside other work less so
        output=$("$torture" --kills 400 --patience 2 --stop --dir "$folder" --fault "$1")
        [ $? = 1 ] && grep -q -E "^  ($2) +worker" <<<"$output" && return
    done
    fail "fault $1: $2 not found"
    echo "$output"
}

# Chance is against a sanitized build, which is slow.
[ -z "${VARIANT:-}" ] || exit $failed
finds drop 'lost|ghost'
finds undead ghost
finds torn torn
finds moving changed
finds stale lost
finds grave waited
finds slow waited
finds hang 'waited|stuck'
finds two 'two|lost'
finds crash crash
finds left 'left over'
finds deaf lost
exit $failed
