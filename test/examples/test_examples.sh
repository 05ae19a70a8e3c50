#!/usr/bin/env bash
# Every example runs by itself, in an empty folder, and ends well.
set -eu

for source in "$SRC"/examples/*.c; do
    name=$(basename "$source" .c)
    mkdir "$TMPDIR/$name"
    cd "$TMPDIR/$name"
    echo "example $name"
    "$BUILD/examples/$name"
done
