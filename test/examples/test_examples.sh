#!/usr/bin/env bash
# Every example runs by itself, in an empty folder, and ends well.
set -eu

for source in "$SRC"/examples/*.c; do
    name=$(basename "$source" .c)
    if [ "$name" = profiles ] && [ ! -e "$BUILD/examples/$name" ]; then
        echo "without example $name: cJSON or msgpack-c is missing"
        continue
    fi
    [ "$name" != undo ] || continue # wants arguments: test_undo.sh
    mkdir "$TMPDIR/$name"
    cd "$TMPDIR/$name"
    echo "example $name"
    "$BUILD/examples/$name"
done
