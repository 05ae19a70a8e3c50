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

finds() # fault what options...
{
    local fault=$1 what=$2 output
    shift 2
    for _ in 1 2 3 4 5 6 7 8; do # found by chance, if a likely one; beside other work less so
        output=$("$torture" --kills 400 --patience 2 --stop --dir "$folder" \
            --fault "$fault" "$@")
        [ $? = 1 ] && grep -q -E "^  ($what) +worker" <<<"$output" && return
    done
    fail "fault $fault: $what not found"
    echo "$output"
}

# Chance is against a sanitized build, which is slow.
[ -z "${VARIANT:-}" ] || exit $failed
finds drop 'lost|ghost' --no-forks
finds undead ghost --no-forks
finds torn torn --no-forks
finds moving 'changed|time' --no-forks
finds stale lost --no-forks
finds grave waited --no-forks
finds slow waited --no-forks
finds hang 'waited|stuck' --no-forks
finds two 'two|lost' --no-forks
finds blind 'torn|lost' --no-forks
finds apart torn --no-forks
finds crash crash --no-forks
finds left 'left over' --no-forks
finds deaf lost --no-forks
finds lasting time --no-forks
finds hasty time --no-forks
finds backward time --no-forks
finds orphan inherited
finds heir 'two|lost|ghost|torn|changed|unreadable|error|time'
exit $failed
