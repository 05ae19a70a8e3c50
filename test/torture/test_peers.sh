#!/usr/bin/env bash
# Processes of three programs share a database and are killed and stopped at random: ours, and the
# torture driver built by musl-gcc and by gcc -m32.
. "$SRC/test/cli/common.sh"
. "$SRC/test/install/peers.sh"

[ -z "${VARIANT:-}" ] || skip_all 'peers are of the plain build'

peer_flags=(-DTORTURE_WITHOUT_LMDB -I"$SRC/src" -I"$SRC/test" -I"$SRC/test/support")
peer_sources=("$SRC"/test/torture/*.c)
build_peers

chmod 755 "$TMPDIR" .
mkdir folder
chmod 755 folder
mix=()
for peer in "${peers[@]}"; do mix+=(--peer "$peer"); done

# Peers are not optimised: how long one waits is judged elsewhere.
only_waited()
{
    grep -q -E '^  violations +[0-9]+ +waited [0-9]+ *$' out
}

"$BUILD/torture" --kills 300 --dir folder "${mix[@]}" >out || only_waited || fail kills
cat out
for peer in "${peers[@]}"; do
    grep -q -E "^  processes +[1-9][0-9]* +started of $peer$" out || fail "no process of $peer"
done
echo >>count/checks
[ ! -e folder/torture.db-lock ] || fail 'the side file is left'
kv check folder/torture.db -q || fail 'kv check'
echo >>count/checks
finish
